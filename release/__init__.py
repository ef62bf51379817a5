"""Makes a release: kernels compiled for each level of processors, and the wheel that contains them."""
