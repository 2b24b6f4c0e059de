"""Jobs of models that take several series: which these were, and until when one is waited for."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; jobs of before have none of it."""
    op.add_column("jobs", sa.Column("inputs", sa.JSON))
    op.add_column("jobs", sa.Column("waits_until", sa.Float))
    op.add_column("jobs", sa.Column("waits_beyond", sa.Integer))


def downgrade() -> None:
    """Take the columns away again."""
    for name in ("inputs", "waits_until", "waits_beyond"):
        op.drop_column("jobs", name)
