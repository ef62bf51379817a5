"""What is learned from and measured on: lists, labels, pictures, batches."""
