"""Rounds of the compare page are kept before their vote, too."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Let what the vote says be missing."""
    with op.batch_alter_table("votes") as votes:
        votes.alter_column("choice", existing_type=sa.String(), nullable=True)
        votes.alter_column("language", existing_type=sa.String(), nullable=True)
        votes.alter_column("seconds", existing_type=sa.Double(), nullable=True)
