"""What the adapters for Microsoft Graph and Azure Communication Services share.

Both authenticate with Microsoft Entra, and both report the same calling service.

* `settings`: configuration keys for Entra. `tokens` gets access tokens from msal (`entra`, `certificates`) or
  from a credential object of the application (`credentials`).
* `codes`: what the calling service's codes mean. `errors` reads the bodies of HTTP errors, `responses` says
  what a response or a failure proves about the request.
* `lenient_json`: JSON objects in any letter case. `ids`: the forms of ids.
"""
