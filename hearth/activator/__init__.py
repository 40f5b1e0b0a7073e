"""The HTTP door of every LLMService: admits, holds, keeps alive, balances, relays."""
