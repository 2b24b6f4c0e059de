"""What pseudonyms stand for, sealed, and what becomes of identities on the way to a node."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table; jobs of before send what they send as it was received."""
    op.add_column("jobs", sa.Column("identity_change", sa.String(32)))
    op.create_table(
        "pseudonyms",
        sa.Column("kind", sa.String(8), primary_key=True),
        sa.Column("pseudonym", sa.String(64), primary_key=True),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Take them away again, and with them every way back."""
    op.drop_table("pseudonyms")
    op.drop_column("jobs", "identity_change")
