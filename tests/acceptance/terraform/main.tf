# SPDX-License-Identifier: Apache-2.0
# A VPC, what guards it, an interface, a cluster and task definitions: as a user of AWS writes them.

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

variable "endpoint" {
  type = string
}

variable "stage" {
  type        = string
  description = "Changed between two applies, so that things are updated in place"
  default     = "first"
}

provider "aws" {
  region                      = "us-west-2"
  skip_metadata_api_check     = true
  skip_requesting_account_id  = false
  skip_credentials_validation = false

  endpoints {
    ec2 = var.endpoint
    ecs = var.endpoint
    sts = var.endpoint
  }

  default_tags {
    tags = { made-by = "terraform" }
  }
}

data "aws_availability_zones" "all" {}

resource "aws_vpc" "main" {
  cidr_block           = "10.77.0.0/16"
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = "main", stage = var.stage }
}

resource "aws_subnet" "private" {
  count             = 3
  vpc_id            = aws_vpc.main.id
  cidr_block        = cidrsubnet(aws_vpc.main.cidr_block, 8, count.index)
  availability_zone = data.aws_availability_zones.all.names[count.index]
  tags              = { Name = "private-${count.index}" }
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.main.id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.main.id
  }
}

resource "aws_route_table_association" "public" {
  subnet_id      = aws_subnet.private[0].id
  route_table_id = aws_route_table.public.id
}

resource "aws_security_group" "balancer" {
  name        = "balancer"
  description = "Who may ask"
  vpc_id      = aws_vpc.main.id

  ingress {
    from_port   = 80
    to_port     = 80
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }

  egress {
    from_port        = 0
    to_port          = 0
    protocol         = "-1"
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }
}

resource "aws_security_group" "application" {
  name   = "application"
  vpc_id = aws_vpc.main.id
}

resource "aws_vpc_security_group_ingress_rule" "from_balancer" {
  security_group_id            = aws_security_group.application.id
  referenced_security_group_id = aws_security_group.balancer.id
  from_port                    = 80
  to_port                      = 80
  ip_protocol                  = "tcp"
  description                  = "rule of the ${var.stage} stage"
}

resource "aws_vpc_security_group_egress_rule" "everything" {
  security_group_id = aws_security_group.application.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_network_interface" "spare" {
  subnet_id       = aws_subnet.private[1].id
  private_ips     = ["10.77.1.50"]
  security_groups = [aws_security_group.application.id]
  description     = "spare of the ${var.stage} stage"
}

resource "aws_ecs_cluster" "main" {
  name = "terraform"

  setting {
    name  = "containerInsights"
    value = var.stage == "first" ? "disabled" : "enabled"
  }
}

resource "aws_ecs_cluster_capacity_providers" "main" {
  cluster_name       = aws_ecs_cluster.main.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]

  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    base              = 1
    weight            = 100
  }
}

resource "aws_ecs_task_definition" "web" {
  family                   = "terraform-web"
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  cpu                      = 256
  memory                   = 512

  container_definitions = jsonencode([
    {
      name         = "web"
      image        = "nginx:latest"
      essential    = true
      environment  = [{ name = "STAGE", value = var.stage }]
      portMappings = [{ containerPort = 80 }]
    },
  ])
}

output "subnets" {
  value = aws_subnet.private[*].id
}

output "group" {
  value = aws_security_group.application.id
}

output "definition" {
  value = aws_ecs_task_definition.web.arn
}
