"""Receiving callbacks: one framework-free receiver, and thin wrappers around it."""

from transferkit._callbacks.receiver import CallbackRequest, CallbackResponse, Receiver

__all__ = ["CallbackRequest", "CallbackResponse", "Receiver"]
