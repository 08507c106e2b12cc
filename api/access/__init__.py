"""Who may ask the API, how often, and what is noted of it: keys and roles, rate limits, the audit trail, rules for browsers, TLS."""
