# SPDX-License-Identifier: Apache-2.0
# A VPC over three zones with public, private and isolated subnets, one NAT gateway for each zone, network ACLs, elastic
# IP addresses, a peer, a prefix list and a second range.

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

variable "endpoint" { type = string }
variable "stage" { type = string }

provider "aws" {
  region                      = "us-west-2"
  skip_metadata_api_check     = true
  skip_requesting_account_id  = false
  skip_credentials_validation = false

  endpoints {
    ec2 = var.endpoint
    sts = var.endpoint
  }
  default_tags {
    tags = { Stage = var.stage }
  }
}

data "aws_availability_zones" "all" { state = "available" }

locals {
  zones  = slice(data.aws_availability_zones.all.names, 0, 3)
  second = var.stage == "second"
}

resource "aws_vpc" "net" {
  cidr_block           = "10.40.0.0/16"
  enable_dns_hostnames = true
}

resource "aws_vpc_ipv4_cidr_block_association" "further" {
  vpc_id     = aws_vpc.net.id
  cidr_block = "100.64.0.0/20"
}

resource "aws_subnet" "public" {
  count                   = 3
  vpc_id                  = aws_vpc.net.id
  cidr_block              = cidrsubnet("10.40.0.0/16", 8, count.index)
  availability_zone       = local.zones[count.index]
  map_public_ip_on_launch = true
}

resource "aws_subnet" "private" {
  count             = 3
  vpc_id            = aws_vpc.net.id
  cidr_block        = cidrsubnet("10.40.0.0/16", 8, 10 + count.index)
  availability_zone = local.zones[count.index]
}

resource "aws_subnet" "isolated" {
  count             = 3
  vpc_id            = aws_vpc_ipv4_cidr_block_association.further.vpc_id
  cidr_block        = cidrsubnet("100.64.0.0/20", 4, count.index)
  availability_zone = local.zones[count.index]
}

resource "aws_internet_gateway" "net" { vpc_id = aws_vpc.net.id }

resource "aws_eip" "nat" {
  count      = 3
  domain     = "vpc"
  depends_on = [aws_internet_gateway.net]
}

resource "aws_nat_gateway" "zone" {
  count         = 3
  allocation_id = aws_eip.nat[count.index].id
  subnet_id     = aws_subnet.public[count.index].id
  depends_on    = [aws_internet_gateway.net]
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.net.id
  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.net.id
  }
}

resource "aws_route_table" "private" {
  count  = 3
  vpc_id = aws_vpc.net.id
}

resource "aws_route_table" "isolated" { vpc_id = aws_vpc.net.id }

resource "aws_route" "out" {
  count                  = 3
  route_table_id         = aws_route_table.private[count.index].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.zone[count.index].id
}

resource "aws_route" "peer" {
  count                     = 3
  route_table_id            = aws_route_table.private[count.index].id
  destination_cidr_block    = aws_vpc.peer.cidr_block
  vpc_peering_connection_id = aws_vpc_peering_connection.peer.id
}

resource "aws_route" "office" {
  route_table_id             = aws_route_table.isolated.id
  destination_prefix_list_id = aws_ec2_managed_prefix_list.office.id
  nat_gateway_id             = aws_nat_gateway.zone[local.second ? 1 : 0].id
}

resource "aws_route_table_association" "public" {
  count          = 3
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table_association" "private" {
  count          = 3
  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private[count.index].id
}

resource "aws_route_table_association" "isolated" {
  count          = 3
  subnet_id      = aws_subnet.isolated[count.index].id
  route_table_id = aws_route_table.isolated.id
}

resource "aws_default_network_acl" "net" {
  default_network_acl_id = aws_vpc.net.default_network_acl_id
  ingress {
    rule_no    = 100
    protocol   = "-1"
    action     = "allow"
    cidr_block = "0.0.0.0/0"
    from_port  = 0
    to_port    = 0
  }
  egress {
    rule_no    = 100
    protocol   = "-1"
    action     = "allow"
    cidr_block = "0.0.0.0/0"
    from_port  = 0
    to_port    = 0
  }
  lifecycle { ignore_changes = [subnet_ids] }
}

resource "aws_default_route_table" "net" { default_route_table_id = aws_vpc.net.default_route_table_id }

resource "aws_default_security_group" "net" { vpc_id = aws_vpc.net.id }

resource "aws_network_acl" "isolated" {
  vpc_id     = aws_vpc.net.id
  subnet_ids = aws_subnet.isolated[*].id
  ingress {
    rule_no    = 10
    protocol   = "tcp"
    action     = "allow"
    cidr_block = "10.40.0.0/16"
    from_port  = local.second ? 5433 : 5432
    to_port    = 5433
  }
  ingress {
    rule_no    = 20
    protocol   = "icmp"
    action     = "allow"
    cidr_block = "10.40.0.0/16"
    from_port  = 0
    to_port    = 0
    icmp_type  = 8
    icmp_code  = -1
  }
  egress {
    rule_no    = 10
    protocol   = "tcp"
    action     = "allow"
    cidr_block = "10.40.0.0/16"
    from_port  = 1024
    to_port    = 65535
  }
}

resource "aws_network_acl" "private" { vpc_id = aws_vpc.net.id }

resource "aws_network_acl_association" "private" {
  count          = local.second ? 2 : 1
  network_acl_id = aws_network_acl.private.id
  subnet_id      = aws_subnet.private[count.index].id
}

resource "aws_network_acl_rule" "private" {
  for_each       = { in = false, out = true }
  network_acl_id = aws_network_acl.private.id
  rule_number    = 50
  egress         = each.value
  protocol       = "-1"
  rule_action    = "allow"
  cidr_block     = "0.0.0.0/0"
}

resource "aws_ec2_managed_prefix_list" "office" {
  name           = "office"
  address_family = "IPv4"
  max_entries    = 5
  entry {
    cidr        = "198.51.100.0/24"
    description = "headquarters"
  }
  dynamic "entry" {
    for_each = local.second ? ["203.0.113.0/24"] : []
    content { cidr = entry.value }
  }
}

resource "aws_security_group" "database" {
  name        = "database"
  description = "isolated"
  vpc_id      = aws_vpc.net.id
}

resource "aws_vpc_security_group_ingress_rule" "office" {
  security_group_id = aws_security_group.database.id
  prefix_list_id    = aws_ec2_managed_prefix_list.office.id
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}

resource "aws_vpc" "peer" { cidr_block = "10.41.0.0/16" }

resource "aws_vpc_peering_connection" "peer" {
  vpc_id      = aws_vpc.net.id
  peer_vpc_id = aws_vpc.peer.id
  auto_accept = true
}

resource "aws_security_group" "peer" {
  name        = "peer"
  description = "peer"
  vpc_id      = aws_vpc.peer.id
}

resource "aws_vpc_security_group_ingress_rule" "peer" {
  security_group_id            = aws_security_group.database.id
  referenced_security_group_id = aws_security_group.peer.id
  ip_protocol                  = "tcp"
  from_port                    = 5433
  to_port                      = 5433
  depends_on                   = [aws_vpc_peering_connection.peer]
}

resource "aws_network_interface" "fixed" {
  subnet_id         = aws_subnet.private[0].id
  source_dest_check = false
}

resource "aws_eip" "fixed" {
  domain            = "vpc"
  network_interface = aws_network_interface.fixed.id
  depends_on        = [aws_internet_gateway.net]
}

output "vpc" { value = aws_vpc.net.id }
output "isolated_acl" { value = aws_network_acl.isolated.id }
output "office" { value = aws_ec2_managed_prefix_list.office.id }
output "gateways" { value = aws_nat_gateway.zone[*].id }
output "peering" { value = aws_vpc_peering_connection.peer.id }
