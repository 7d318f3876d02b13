/**
 * In which order addresses are dialled: those that are due before the others, and of the due ones those of the highest
 * rank, then those that failed least, then those of the highest priority (BEP 40). Pure. Every operation takes
 * logarithmic time, spread over many.
 */
import * as Heap from "../base/Heap.ts"

/** What the order depends on. */
export interface Entry {
  readonly rank: number
  readonly failures: number
  /** When it may be dialled (milliseconds). */
  readonly dialAt: number
  readonly priority: number
  /** Changes whenever the entry is added or removed. */
  ticket: number
}

/** An entry in a heap, with the values by which it was placed there: the entry's own may have changed since. */
interface Waiting<E> extends Readonly<Entry> {
  readonly entry: E
}

/** Addresses that may be dialled, now or later. An address is in it at most once. */
export interface DialQueue<E extends Entry> {
  due: Array<Waiting<E>>
  later: Array<Waiting<E>>
  size: number
  tickets: number
}

/** Makes an empty queue. */
export const make = <E extends Entry>(): DialQueue<E> => ({ due: [], later: [], size: 0, tickets: 0 })

/** The ticket of an entry that is not in the queue. */
export const noTicket = 0

const waitingOf = <E extends Entry>(entry: E): Waiting<E> => {
  const { dialAt, failures, priority, rank, ticket } = entry
  return { entry, dialAt, rank, failures, priority, ticket }
}

const isDialledFirst = (one: Readonly<Entry>, other: Readonly<Entry>): boolean => {
  if (one.rank !== other.rank) return one.rank > other.rank
  if (one.failures !== other.failures) return one.failures < other.failures
  if (one.priority !== other.priority) return one.priority > other.priority
  return one.ticket < other.ticket
}

const isDueFirst = (one: Readonly<Entry>, other: Readonly<Entry>): boolean => one.dialAt < other.dialAt

type Before = Heap.Before<Readonly<Entry>>

/** The first entry that was not removed since. */
const first = <E extends Entry>(heap: Array<Waiting<E>>, isBefore: Before): Waiting<E> | undefined => {
  while (heap.length > 0) {
    const waiting = heap[0]!
    if (waiting.entry.ticket === waiting.ticket) return waiting
    Heap.pop(heap, isBefore)
  }
  return undefined
}

/** Adds an entry, or gives it a new place after it has changed. */
export const add = <E extends Entry>(self: DialQueue<E>, entry: E): void => {
  remove(self, entry)
  self.size++
  entry.ticket = ++self.tickets
  Heap.push(self.later, waitingOf(entry), isDueFirst)
  // Entries that were removed stay in the heaps until they are first, but no more of them than of the others.
  if (self.due.length + self.later.length > 2 * self.size + 64) rebuild(self)
}

/** Removes an entry, if it is there. */
export const remove = <E extends Entry>(self: DialQueue<E>, entry: E): void => {
  if (entry.ticket === noTicket) return
  entry.ticket = noTicket
  self.size--
}

/** Sorts the queue again after priorities have changed. */
export const rebuild = <E extends Entry>(self: DialQueue<E>): void => {
  const waiting = [...self.due, ...self.later].filter(({ entry, ticket }) => entry.ticket === ticket)
  self.due = []
  self.later = []
  for (const { entry } of waiting) Heap.push(self.later, waitingOf(entry), isDueFirst)
}

/** The entry to dial next; `undefined` if none is due. It stays in the queue. */
export const next = <E extends Entry>(self: DialQueue<E>, now: number): E | undefined => {
  for (let soonest = first(self.later, isDueFirst); soonest !== undefined; soonest = first(self.later, isDueFirst)) {
    if (soonest.dialAt > now) break
    Heap.pop(self.later, isDueFirst)
    Heap.push(self.due, soonest, isDialledFirst)
  }
  return first(self.due, isDialledFirst)?.entry
}

/** When the next entry is due, if none is yet; `undefined` if there is none. */
export const nextAt = <E extends Entry>(self: DialQueue<E>): number | undefined =>
  (first(self.due, isDialledFirst) ?? first(self.later, isDueFirst))?.dialAt
