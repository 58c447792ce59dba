"""Language models: vLLM on this machine, and servers that speak OpenAI's protocol."""
