"""Published models explained and reckoned, by arithmetic on their specs alone: `dokja models` prints what is here."""
