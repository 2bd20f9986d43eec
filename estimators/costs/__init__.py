"""What a fit costs, before it runs: kernels to compile, time on either device, memory."""
