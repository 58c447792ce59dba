"""One estimator beside the paper's ten methods: new questions, new surveys and new people."""
