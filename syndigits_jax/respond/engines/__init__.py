"""Language models: vLLM on this machine, and servers with OpenAI's interface."""
