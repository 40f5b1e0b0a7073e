"""vLLM itself, on the CPU of a real node (`make e2e-vllm`): its image is 7 GB, and a start takes it a minute or two."""
