# An image for clusters/aws.yaml with all packages in it, so that a node installs nothing when it starts.
#
# Once:     packer init clusters/aws.pkr.hcl
# Build:    packer build -var region=us-west-2 clusters/aws.pkr.hcl   (from the root of the repository)
# Use:      write the id that it prints as ImageId into clusters/aws.yaml, for head and workers
# Cost:     one m6i.xlarge while it builds, and the snapshot of its disk for as long as the image is kept
# Again:    when requirements-node.lock has changed. Until then nodes install what is new at their start
# Remove:   deregister the image and delete its snapshot in the EC2 console
#
# Never built here: no account was available. It holds no code of yours, no key and no token.

packer {
  required_plugins {
    amazon = {
      version = ">= 1.3.0"
      source  = "github.com/hashicorp/amazon"
    }
  }
}

variable "region" {
  type        = string
  description = "Where the cluster runs: an image holds for one region."
  default     = "us-west-2"
}

variable "subnet_id" {
  type        = string
  description = "Where no default VPC exists: a subnet from which the internet is reached."
  default     = null
}

# What clusters/aws.yaml takes without an image of its own: Ubuntu with NVIDIA's driver.
data "amazon-parameterstore" "base" {
  region = var.region
  name   = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
}

source "amazon-ebs" "node" {
  region        = var.region
  subnet_id     = var.subnet_id
  source_ami    = data.amazon-parameterstore.base.value
  instance_type = "m6i.xlarge" # packages install without a GPU
  ami_name      = "ndcl-{{timestamp}}"
  ssh_username  = "ubuntu"

  # For as long as it builds: SSH from your address alone, by a key that is not left in the image.
  temporary_security_group_source_public_ip = true
  associate_public_ip_address               = true
  ssh_clear_authorized_keys                 = true

  imds_support = "v2.0"
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  encrypt_boot = true
  launch_block_device_mappings {
    device_name           = "/dev/sda1"
    volume_size           = 75 # GiB; nodes may have more, not less
    volume_type           = "gp3"
    delete_on_termination = true
  }

  tags          = { project = "ndcl", base = "{{ .SourceAMI }}" }
  snapshot_tags = { project = "ndcl" }
  run_tags      = { project = "ndcl" }
}

build {
  sources = ["source.amazon-ebs.node"]

  # At the start of a fresh machine cloud-init may still hold apt's lock.
  provisioner "shell" {
    inline = ["sudo cloud-init status --wait >/dev/null || true", "mkdir -p ~/ndcl/clusters/bin"]
  }
  provisioner "file" {
    source      = "requirements-node.lock"
    destination = "/home/ubuntu/ndcl/requirements-node.lock"
  }
  provisioner "file" {
    source      = "clusters/bin/setup_node.sh"
    destination = "/home/ubuntu/ndcl/clusters/bin/setup_node.sh"
  }
  # The script that every node runs: here it installs, there it finds what it would install.
  provisioner "shell" {
    inline = ["bash ~/ndcl/clusters/bin/setup_node.sh", "rm -rf ~/.cache/uv", "sudo cloud-init clean --logs"]
  }
}
