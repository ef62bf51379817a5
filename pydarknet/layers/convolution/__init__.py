"""Convolutional layers and the algorithms that compute them."""
