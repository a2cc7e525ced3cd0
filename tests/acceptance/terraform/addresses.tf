# SPDX-License-Identifier: Apache-2.0
# Public addresses, and the way out of private subnets.

resource "aws_subnet" "public" {
  vpc_id                  = aws_vpc.main.id
  cidr_block              = cidrsubnet(aws_vpc.main.cidr_block, 8, 100)
  availability_zone       = data.aws_availability_zones.all.names[0]
  map_public_ip_on_launch = true
}

resource "aws_route_table_association" "outside" {
  subnet_id      = aws_subnet.public.id
  route_table_id = aws_route_table.public.id
}

resource "aws_eip" "nat" {
  domain     = "vpc"
  tags       = { Name = "nat", stage = var.stage }
  depends_on = [aws_internet_gateway.main]
}

resource "aws_nat_gateway" "main" {
  allocation_id = aws_eip.nat.id
  subnet_id     = aws_subnet.public.id
  tags          = { Name = "main", stage = var.stage }
  depends_on    = [aws_internet_gateway.main]
}

resource "aws_nat_gateway" "private" {
  connectivity_type = "private"
  subnet_id         = aws_subnet.public.id
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.main.id

  route {
    cidr_block     = "0.0.0.0/0"
    nat_gateway_id = aws_nat_gateway.main.id
  }
}

resource "aws_route_table_association" "private" {
  subnet_id      = aws_subnet.private[2].id
  route_table_id = aws_route_table.private.id
}

resource "aws_eip" "spare" {
  domain            = "vpc"
  network_interface = var.stage == "first" ? aws_network_interface.spare.id : null
  depends_on        = [aws_internet_gateway.main]
}
