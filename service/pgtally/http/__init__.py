"""What each request passes, in this order: edge, access (authentication, rate_limit), then its
handler, which uses body, query_string and replies. operation is what a handler declares, passage
what a request carries."""
