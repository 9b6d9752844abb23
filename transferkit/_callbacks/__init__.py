"""Receives callbacks: the receiver, and the ASGI and WSGI apps around it."""

from transferkit._callbacks.messages import CallbackRequest, CallbackResponse
from transferkit._callbacks.receiver import Receiver

__all__ = ["CallbackRequest", "CallbackResponse", "Receiver"]
