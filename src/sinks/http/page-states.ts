/** States of the events of a page. */
export const OPEN = 0;
export const SENT = 1;
export const TAKEN = 2;
/** Refused, and not known whether the event is the cause. */
export const REFUSED = 3;
export const PASSED = 4;

/** Of the events that are to be sent: the first, the one in the middle and the last. */
export function openSamples(states: Uint8Array): number[] {
  const places = [...states.keys()].filter((at) => states[at] === OPEN);
  const [first, middle, last] = [places[0], places[places.length >> 1], places.at(-1)];
  return [...new Set([first, middle, last])].filter((place) => place !== undefined);
}
