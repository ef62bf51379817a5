"""Published weights, fetched by name: `transfer` moves bytes, `download` says which and checks them."""
