"""Whether a photo had a say in a composition."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("composition", sa.Column("photo_heard", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("composition", "photo_heard")
