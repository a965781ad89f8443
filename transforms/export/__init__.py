"""Export: token objects of finished runs as files that trainers read (``schemas.exports``)."""
