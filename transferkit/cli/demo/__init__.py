"""The demonstration: one application, played through the same stories on every provider's emulator.

In this order: `application` is what is demonstrated, `scene` is where it works, `stories` are what happens to
it, `performance` plays a story and judges it, `display` shows it to people or programs.
"""
