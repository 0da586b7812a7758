"""First tables: estimates, weighings, compositions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "estimate",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.Column("grams", sa.Double(), nullable=True),
        sa.Column("low_grams", sa.Double(), nullable=True),
        sa.Column("high_grams", sa.Double(), nullable=True),
        sa.Column("coverage", sa.Double(), nullable=True),
        sa.Column("photos", sa.JSON(), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("kept", sa.JSON(), nullable=False),
        sa.Column("parcel", sa.String(64), nullable=True),
        sa.Column("season", sa.String(16), nullable=True),
        sa.Column("wrap", sa.String(16), nullable=True),
        sa.Column("mark", sa.String(16), nullable=True),
        sa.Column("mark_mm", sa.Double(), nullable=True),
        *_bundle(),
    )
    op.create_index("ix_estimate_created_at", "estimate", ["created_at"])
    op.create_index("ix_estimate_parcel", "estimate", ["parcel"])
    op.create_table(
        "weighing",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column(
            "estimate_id", sa.String(32), sa.ForeignKey("estimate.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("grams", sa.Double(), nullable=False),
        sa.Column("weighed_at", moment, nullable=False),
    )
    op.create_index("ix_weighing_estimate", "weighing", ["estimate_id", "number"])
    op.create_table(
        "composition",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("shares", sa.JSON(), nullable=False),
        sa.Column("unknown", sa.Double(), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("instrument", sa.String(200), nullable=True),
        sa.Column("wavelength_nm", sa.LargeBinary(), nullable=False),
        sa.Column("absorbance", sa.LargeBinary(), nullable=False),
        sa.Column("map_png", sa.LargeBinary(), nullable=True),
        sa.Column("map_legend", sa.JSON(), nullable=True),
        *_bundle(),
    )
    op.create_index("ix_composition_created_at", "composition", ["created_at"])


def downgrade() -> None:
    for table in ("composition", "weighing", "estimate"):
        op.drop_table(table)


def _bundle() -> list[sa.Column[str]]:
    return [
        sa.Column("bundle_name", sa.String(200), nullable=False),
        sa.Column("bundle_version", sa.String(200), nullable=False),
        sa.Column("bundle_sha256", sa.String(64), nullable=False),
        sa.Column("bundle_trained_on", sa.String(16), nullable=False),
    ]
