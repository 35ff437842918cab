"""From a checkpoint and images to boxes, files and pictures."""
