"""A challenger beside the bundle in service: what both said."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trial",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("task", sa.String(16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("served_sha256", sa.String(64), nullable=False),
        sa.Column("challenger_sha256", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(32), nullable=True),
        sa.Column("figures", sa.JSON(), nullable=False),
    )
    op.create_index("ix_trial_pair", "trial", ["challenger_sha256", "served_sha256", "number"])


def downgrade() -> None:
    op.drop_table("trial")
