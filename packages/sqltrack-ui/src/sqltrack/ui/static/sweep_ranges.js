/** Ranges that are dragged along the axes of parallel coordinates. */

import { positionsOf, rangeOf } from "./sweep_data.js";
import { PARALLEL_MARGINS } from "./sweep_option.js";
import { html, useRef, useState } from "./vendor/htm/standalone.module.js";

/** Pixels in which a drag takes hold of an end of a range, and that a drag is longer than a click. */
const GRIP = 8;
const SMALLEST_DRAG = 4;

/**
 * The part of the chart around an axis, where ranges are dragged: a new one, one as a whole, or one of its ends. A
 * click clears the range. The dialog of ranges does the same by keyboard.
 *
 * @param {object} props
 * @param {object} props.axis the axis
 * @param {number} props.index its place from the left
 * @param {number} props.count number of axes
 * @param {object|undefined} props.range the range of the axis
 * @param {function(object|null)} props.onRange gets the new range, null for none
 */
export function RangeStrip({ axis, index, count, range, onRange }) {
  const drag = useRef(null);
  const [dragged, setDragged] = useState(null);
  const { left, right, top, bottom } = PARALLEL_MARGINS;
  const shown = dragged ?? (range === undefined ? null : positionsOf(axis, range));
  const onPointerDown = (event) => {
    if (event.button === 0) {
      event.currentTarget.setPointerCapture(event.pointerId);
      drag.current = startDrag(axis, event, shown);
    }
  };
  const onPointerMove = (event) => {
    if (drag.current === null) {
      return;
    }
    const next = drag.current.move(event);
    setDragged(next);
    if (next !== null && !drag.current.isWaiting) {
      drag.current.isWaiting = true;
      tell(next);
      afterPaint(drag.current);
    }
  };
  const onPointerUp = (event) => {
    if (drag.current === null) {
      return;
    }
    const last = drag.current.move(event);
    drag.current = null;
    setDragged(null);
    if (last === null) {
      onRange(null);
    } else {
      tell(last);
    }
  };
  const tell = (positions) => {
    const next = rangeOf(axis, positions);
    if (next !== null) {
      onRange(next);
    }
  };
  const cancel = () => {
    drag.current = null;
    setDragged(null);
  };
  const place = {
    left: `calc(${left}px + (100% - ${left + right}px) * ${index / (count - 1)})`,
    top: `${top}px`,
    bottom: `${bottom}px`,
  };
  return html`<div class="sweep-strip" style=${place} data-axis=${axis.id} aria-hidden="true" onPointerDown=${onPointerDown} onPointerMove=${onPointerMove} onPointerUp=${onPointerUp} onPointerCancel=${cancel}>
    ${shown && html`<div class="sweep-cover" style=${coverOf(axis, shown)}></div>`}
  </div>`;
}

// The page may draw thousands of lines after a change: wait until that is done before the next one.
function afterPaint(drag) {
  requestAnimationFrame(() =>
    requestAnimationFrame(() => {
      drag.isWaiting = false;
    }),
  );
}

// A cover in percent of the height of the axis, from the top.
function coverOf(axis, positions) {
  const [low, high] = axis.extent;
  const [top, bottom] = [positions[1], positions[0]].map((position) => (100 * (high - position)) / (high - low));
  return { top: `${Math.max(0, top)}%`, bottom: `${Math.max(0, 100 - bottom)}%` };
}

// Returns the drag, whose `move` gives the two positions for a place of the pointer, null as long as it is a click.
function startDrag(axis, event, before) {
  const box = event.currentTarget.getBoundingClientRect();
  const [low, high] = axis.extent;
  const unit = (high - low) / box.height;
  const clamp = (position) => Math.min(high, Math.max(low, position));
  const at = ({ clientY }) => clamp(high - (clientY - box.top) * unit);
  const start = at(event);
  const choose = () => {
    if (before === null || start < before[0] - GRIP * unit || start > before[1] + GRIP * unit) {
      return (position) => [start, position];
    }
    if (Math.abs(start - before[0]) < GRIP * unit) {
      return (position) => [before[1], position];
    }
    if (Math.abs(start - before[1]) < GRIP * unit) {
      return (position) => [before[0], position];
    }
    return (position) => before.map((end) => clamp(end + position - start));
  };
  const positionsAt = choose();
  let isDrag = false;
  const move = (next) => {
    isDrag ||= Math.abs(next.clientY - event.clientY) >= SMALLEST_DRAG;
    return isDrag ? positionsAt(at(next)).sort((one, other) => one - other) : null;
  };
  return { move, isWaiting: false };
}
