"""The demonstration: one application runs the same stories on every provider's emulator.

* `application`: the contact centre that is demonstrated.
* `scene`: one provider's emulator, with the calls and events of one story.
* `stories`: what happens to the application, and the outcome that is expected.
* `runner`: runs a story and compares its outcomes with the expected ones.
* `display`: prints the stories as timelines or as JSON.
"""
