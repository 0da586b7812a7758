"""A sorting line: pieces with their evidence, rules, alarms, hand-checked samples."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "line_piece",
        *_piece_key(),
        sa.Column("seen_at", moment, nullable=False),
        sa.Column("lane", sa.String(40), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("rules_version", sa.String(64), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("decision", sa.JSON(), nullable=False),
    )
    op.create_index("ix_line_piece_seen", "line_piece", ["line", "seen_at"])
    op.create_table(
        "line_evidence",
        *_piece_key(),
        sa.Column("held_bytes", sa.BigInteger(), nullable=False),
        sa.Column("wavelength_nm", sa.LargeBinary(), nullable=False),
        sa.Column("absorbance", sa.LargeBinary(), nullable=False),
        sa.Column("picture", sa.LargeBinary(), nullable=True),
        _of_a_piece(),
    )
    op.create_index("ix_line_evidence_held", "line_evidence", ["line", "number", "held_bytes"])
    op.create_table(
        "line_rules",
        sa.Column("line", sa.String(40), primary_key=True),
        sa.Column("version", sa.String(64), primary_key=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("since", moment, nullable=False),
        sa.Column("who", sa.String(200), nullable=True),
    )
    op.create_table(
        "line_number",
        sa.Column("line", sa.String(40), primary_key=True),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "line_alarm",
        sa.Column("line", sa.String(40), primary_key=True),
        sa.Column("code", sa.String(40), primary_key=True),
        sa.Column("since", moment, primary_key=True),
        sa.Column("until", moment, nullable=True),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "line_check",
        *_piece_key(),
        sa.Column("lane", sa.String(40), nullable=False),
        sa.Column("drawn_at", moment, nullable=False),
        sa.Column("said", sa.Text(), nullable=True),
        sa.Column("truth", sa.JSON(), nullable=True),
        sa.Column("checked_at", moment, nullable=True),
        _of_a_piece(),
    )


def downgrade() -> None:
    for table in ("line_check", "line_alarm", "line_number", "line_rules", "line_evidence", "line_piece"):
        op.drop_table(table)


def _piece_key() -> list[sa.Column[object]]:
    return [
        sa.Column("line", sa.String(40), primary_key=True),
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
    ]


def _of_a_piece() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["line", "number"], ["line_piece.line", "line_piece.number"], ondelete="CASCADE"
    )
