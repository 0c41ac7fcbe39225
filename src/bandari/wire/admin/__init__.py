"""The operator's protocol, and the customer's for what is his own: bodies, queries and answers.

Plain JSON. Names of fields are the domain's; times go out in milliseconds since 1970. Knows no
route, no role and no store.
"""
