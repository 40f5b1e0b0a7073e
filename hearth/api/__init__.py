"""The API group serving.hearth.dev: LLMService and InferenceRuntime."""
