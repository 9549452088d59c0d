"""The method: continual personalization of diffusion models. Tensors in, tensors out; it prints and stores nothing."""
