// The belt from above, moving: pieces as pictures within their outlines, in the colours of their lanes.
//
// Everything is shown a little later than it is, so that a piece is known before it comes into view and the belt
// runs evenly however the messages arrive. Positions along the line grow to the right, downstream; x_mm downwards.

const BEHIND_S = 1.3; // what is drawn is this old
const MARGIN_MM = 12; // of belt around a piece in its picture
const MOST_PIECES = 60;
const HIGHEST_PX = 340; // a wide screen shows a longer stretch rather than a taller belt
const STALE_MS = 4000; // without a word the belt stands still
const TICK_MM = 200;

export class Belt {
  #canvas; #context; #line; #colourOf; #pieces = new Map(); #flashes = new Map(); #fires = new Map();
  #ends; #from; #to; #shown = null; #travel = null; #heardAt = 0; #speed = 0; #drawnAt = 0;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    const draw = (at) => {
      this.#draw(at);
      requestAnimationFrame(draw);
    };
    requestAnimationFrame(draw);
  }

  // A line's description, and the colour of a lane by name. Forgets all that was drawn.
  start(line, colourOf) {
    this.#line = line;
    this.#colourOf = colourOf;
    this.#pieces.clear();
    this.#shown = this.#travel = null;
    const ends = line.ejectors.map((ejector) => ejector.position_mm);
    const last = Math.max(...ends);
    this.#ends = [line.nir_mm - 0.25 * (last - line.nir_mm) - 250, last + 350];
  }

  moved(encoder, speed, running) {
    this.#travel = encoder / this.#line.counts_per_mm;
    this.#speed = running ? speed : 0;
    this.#heardAt = performance.now();
  }

  add(shown) {
    const { number, place, outline_mm: outline, shares, colour } = shown.piece;
    const main = shares[0];
    const before = this.#pieces.get(number);
    const piece = {
      place, outline, lane: shown.lane, wanted: shown.wanted, outcome: shown.outcome, ejector: shown.ejector,
      fill: colour ? `lab(${colour.lightness.toFixed(0)}% ${colour.a.toFixed(0)} ${colour.b.toFixed(0)})` : "#7d8783",
      said: main ? `${main.fibre} ${Math.round(100 * main.share)} %` : "unknown",
      picture: before?.picture ?? null,
    };
    if (shown.picture && !piece.picture) {
      piece.picture = new Image();
      piece.picture.src = `data:image/jpeg;base64,${shown.picture}`;
    }
    this.#pieces.delete(number);
    this.#pieces.set(number, piece);
    while (this.#pieces.size > MOST_PIECES) this.#pieces.delete(this.#pieces.keys().next().value);
  }

  #advance(at) {
    const seconds = Math.min(0.5, (at - this.#drawnAt) / 1000);
    this.#drawnAt = at;
    const since = Math.min(at - this.#heardAt, STALE_MS) / 1000;
    const target = this.#travel + this.#speed * (since - BEHIND_S);
    if (this.#shown === null || Math.abs(target - this.#shown) > 1500) this.#shown = target;
    else if (at - this.#heardAt < STALE_MS) this.#shown += this.#speed * seconds + (target - this.#shown) * Math.min(1, 1.5 * seconds);
  }

  #draw(at) {
    if (!this.#line || this.#travel === null) return this.#size();
    this.#advance(at);
    const [width, height, scale] = this.#size();
    const to = this.#context;
    to.fillStyle = "#2a312e";
    to.fillRect(0, 0, width, height);
    this.#drawFloor(to, width, height, scale);
    for (const [number, piece] of this.#pieces) {
      const left = this.#shown - piece.place.last_mm;
      if (left > this.#to + 100) this.#forget(number);
      else if (this.#shown - piece.place.first_mm > this.#from) this.#drawPiece(to, piece, number, scale, at);
    }
    this.#drawPosts(to, height, scale, at);
  }

  #forget(number) {
    this.#pieces.delete(number);
    this.#fires.delete(number);
  }

  #size() {
    const ratio = Math.min(2, devicePixelRatio || 1);
    const width = this.#canvas.clientWidth;
    let scale = 0, height = 160;
    if (this.#line) {
      const [from, to] = this.#ends;
      scale = Math.min(width / (to - from), HIGHEST_PX / this.#line.width_mm);
      height = Math.max(90, Math.round(scale * this.#line.width_mm));
      const spare = width / scale - (to - from);
      [this.#from, this.#to] = [from - 0.6 * spare, to + 0.4 * spare];
    }
    if (this.#canvas.width !== Math.round(width * ratio) || this.#canvas.height !== Math.round(height * ratio)) {
      this.#canvas.width = Math.round(width * ratio);
      this.#canvas.height = Math.round(height * ratio);
      this.#canvas.style.height = `${height}px`;
    }
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return [width, height, scale];
  }

  // Seams of the belt, so that its movement is seen when it is empty.
  #drawFloor(to, width, height, scale) {
    to.strokeStyle = "#353e3a";
    to.lineWidth = 1;
    to.beginPath();
    const first = Math.ceil((this.#shown - this.#to) / TICK_MM);
    const last = Math.floor((this.#shown - this.#from) / TICK_MM);
    for (let tick = first; tick <= last; tick += 1) {
      const x = (this.#shown - tick * TICK_MM - this.#from) * scale;
      to.moveTo(x, 0);
      to.lineTo(x, height);
    }
    to.stroke();
  }

  #drawPiece(to, piece, number, scale, at) {
    const { place } = piece;
    const middle = this.#shown - (place.first_mm + place.last_mm) / 2;
    const ejector = piece.outcome === "fired" ? this.#line.ejectors.find(({ name }) => name === piece.ejector) : null;
    const past = ejector ? Math.max(0, middle - ejector.position_mm) : 0;
    if (past > 0 && !this.#fires.has(number)) {
      this.#fires.set(number, true);
      this.#flashes.set(ejector.name, at);
    }
    const gone = Math.min(1, past / 260); // blown off, downwards
    if (gone >= 1) return;
    const x = (belt_mm) => (this.#shown - belt_mm - this.#from) * scale;
    const y = (x_mm) => x_mm * scale + gone * gone * 0.5 * this.#line.width_mm * scale;
    to.save();
    to.globalAlpha = 1 - gone;
    to.beginPath();
    for (const [belt_mm, x_mm] of piece.outline) to.lineTo(x(belt_mm), y(x_mm));
    to.closePath();
    const known = this.#shown - place.first_mm > this.#line.nir_mm;
    this.#fill(to, piece, x, y);
    to.lineWidth = known ? 2.5 : 1;
    to.strokeStyle = known ? this.#colourOf(piece.wanted) : "#ffffff88";
    to.setLineDash(piece.outcome === "late" || piece.outcome === "held" ? [5, 4] : []);
    to.stroke();
    if (known) this.#label(to, piece, (x(place.first_mm) + x(place.last_mm)) / 2, (y(place.left_mm) + y(place.right_mm)) / 2, scale);
    to.restore();
  }

  #fill(to, piece, x, y) {
    to.fillStyle = piece.fill;
    to.fill();
    const { picture, place } = piece;
    if (!picture?.complete || !picture.naturalWidth) return;
    to.save();
    to.clip();
    // The picture has upstream at its top and the belt's left edge at its left: rows go right, columns down.
    const left = x(place.last_mm + MARGIN_MM), top = y(Math.max(0, place.left_mm - MARGIN_MM));
    const long = (x(place.first_mm - MARGIN_MM) - left) / picture.naturalHeight;
    const wide = (y(Math.min(this.#line.width_mm, place.right_mm + MARGIN_MM)) - top) / picture.naturalWidth;
    to.transform(0, wide, long, 0, left, top);
    to.drawImage(picture, 0, 0);
    to.restore();
  }

  #label(to, piece, x, y, scale) {
    const room = (piece.place.last_mm - piece.place.first_mm) * scale;
    const said = room < 90 ? piece.said.split(" ")[0] : piece.said;
    to.font = "600 11px system-ui, sans-serif";
    if (room < to.measureText(said).width + 6) return;
    to.textAlign = "center";
    to.textBaseline = "middle";
    to.lineWidth = 3;
    to.setLineDash([]);
    to.strokeStyle = "#16211dcc";
    to.strokeText(said, x, y);
    to.fillStyle = "#fff";
    to.fillText(said, x, y);
  }

  #drawPosts(to, height, scale, at) {
    to.font = "600 11px system-ui, sans-serif";
    to.textBaseline = "top";
    to.textAlign = "left";
    const nir = (this.#line.nir_mm - this.#from) * scale;
    to.fillStyle = "#ff7a59";
    to.fillRect(nir - 1, 0, 2, height);
    to.fillText("NIR", nir + 5, 4);
    for (const ejector of this.#line.ejectors) {
      const x = (ejector.position_mm - this.#from) * scale;
      const since = at - (this.#flashes.get(ejector.name) ?? -1e9);
      to.fillStyle = ejector.colour ?? "#9aa5a0";
      const wide = since < 350 ? 8 - since / 70 : 3;
      to.fillRect(x - wide / 2, ejector.left_mm * scale, wide, (ejector.right_mm - ejector.left_mm) * scale);
      to.fillText(ejector.lane ?? ejector.name, x + 6, 4);
    }
  }
}
