"""From a rule document to a query. Pure: `plan` says what is read, `sql` how PostgreSQL reads it."""
