/**
 * How torrents are moved in the queue, as the Transmission RPC knows it. Pure.
 */

/** Moves `torrent` to an end of the queue, or before another one. */
export interface Move<A> {
  readonly torrent: A
  readonly place: "first" | "last" | { readonly before: A }
}

/** Where torrents are moved to: an end, or a step nearer to it. */
export type Direction = "top" | "up" | "down" | "bottom"

/** The moves, to be made one after the other. The chosen torrents keep their order among each other. */
export const moves = <A>(
  queue: ReadonlyArray<A>,
  chosen: ReadonlySet<A>,
  direction: Direction
): ReadonlyArray<Move<A>> => {
  const own = queue.filter((torrent) => chosen.has(torrent))
  if (direction === "top") return own.toReversed().map((torrent) => ({ torrent, place: "first" }))
  if (direction === "bottom") return own.map((torrent) => ({ torrent, place: "last" }))
  return direction === "up" ? steps(queue, chosen) : stepsDown(queue, chosen)
}

/** Each chosen torrent changes places with the one before it, unless that is chosen too. */
const steps = <A>(queue: ReadonlyArray<A>, chosen: ReadonlySet<A>): ReadonlyArray<Move<A>> => {
  const order = [...queue]
  const found: Array<Move<A>> = []
  for (let at = 1; at < order.length; at++) {
    const [before, torrent] = [order[at - 1]!, order[at]!]
    if (!chosen.has(torrent) || chosen.has(before)) continue
    order[at - 1] = torrent
    order[at] = before
    found.push({ torrent, place: { before } })
  }
  return found
}

/** Each torrent that is not chosen changes places with the chosen one before it: what is chosen goes down. */
const stepsDown = <A>(queue: ReadonlyArray<A>, chosen: ReadonlySet<A>): ReadonlyArray<Move<A>> => {
  const order = [...queue]
  const found: Array<Move<A>> = []
  for (let at = order.length - 2; at >= 0; at--) {
    const [torrent, after] = [order[at]!, order[at + 1]!]
    if (!chosen.has(torrent) || chosen.has(after)) continue
    order[at] = after
    order[at + 1] = torrent
    found.push({ torrent: after, place: { before: torrent } })
  }
  return found
}

/** The move of a torrent to a place counted from 0; the last one if there are fewer torrents. */
export const toPlace = <A>(queue: ReadonlyArray<A>, torrent: A, place: number): Move<A> => {
  const before = queue.filter((other) => other !== torrent)[place]
  return { torrent, place: before === undefined ? "last" : { before } }
}
