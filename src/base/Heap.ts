/** A binary heap in an array: its first item is before all others. Adding and removing take logarithmic time. */

/** Whether one item comes out before another. Must not change while both are in a heap. */
export type Before<A> = (one: A, other: A) => boolean

/** Adds an item. */
export const push = <A>(heap: Array<A>, item: A, isBefore: Before<A>): void => {
  let at = heap.length
  heap.push(item)
  while (at > 0) {
    const parent = (at - 1) >>> 1
    if (!isBefore(item, heap[parent]!)) break
    heap[at] = heap[parent]!
    at = parent
  }
  heap[at] = item
}

/** Removes and returns the first item; `undefined` if there is none. */
export const pop = <A>(heap: Array<A>, isBefore: Before<A>): A | undefined => {
  const first = heap[0]
  const last = heap.pop()
  if (last === undefined || heap.length === 0) return first
  let at = 0
  while (true) {
    let child = 2 * at + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
    if (!isBefore(heap[child]!, last)) break
    heap[at] = heap[child]!
    at = child
  }
  heap[at] = last
  return first
}
