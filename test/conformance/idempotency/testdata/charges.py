# SPDX-License-Identifier: Apache-2.0
"""Makes one charge per name on the command line, as an application does, and prints
what the SDK says of each, one JSON object a line. Keys and retries are the SDK's."""
import json
import sys

import stripe

base, names = sys.argv[1], sys.argv[2:]
client = stripe.StripeClient(
    "sk_test_weir",
    base_addresses={"api": base},
    max_network_retries=2,
    http_client=stripe.RequestsClient(timeout=1),
)
for name in names:
    said = {"name": name}
    try:
        charge = client.v1.charges.create(
            params={"amount": 2000, "currency": "eur", "source": "tok_visa", "description": name}
        )
        said["charge"] = charge.id
        said["replayed"] = charge.last_response.headers.get("idempotent-replayed") == "true"
    except stripe.StripeError as e:
        said["error"], said["status"] = type(e).__name__, e.http_status
    print(json.dumps(said), flush=True)
