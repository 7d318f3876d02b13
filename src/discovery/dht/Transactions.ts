/**
 * The queries that wait for an answer. An answer counts only if it repeats the transaction id, which nobody else can
 * guess, and comes from the very address that was asked: so forged answers have no effect. Bounded.
 */
import * as Bytes from "../../base/Bytes.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import * as PeerAddresses from "../../base/PeerAddress.ts"

/** How long we wait for an answer, in milliseconds. */
export const timeoutMillis = 8_000

/** Most queries that wait. */
export const maxPending = 512

/** Bytes of a transaction id. Two are usual (BEP 5); four cannot be guessed while we wait. */
export const idLength = 4

/** A query that waits, for a purpose `A`. */
export interface Pending<A> {
  readonly address: PeerAddress
  readonly purpose: A
  readonly sentAt: number
}

/** The queries that wait, in the order in which they were sent. */
export interface Transactions<A> {
  /** Returns that many bytes that nobody can predict. */
  readonly entropy: (length: number) => Uint8Array
  readonly pending: Map<string, Pending<A>>
}

/** Makes it without queries. */
export const make = <A>(entropy: (length: number) => Uint8Array): Transactions<A> => ({ entropy, pending: new Map() })

/** Whether no more queries may wait. */
export const isFull = <A>(self: Transactions<A>): boolean => self.pending.size >= maxPending

/** Begins to wait. Returns the transaction id. */
export const begin = <A>(self: Transactions<A>, query: Pending<A>): Uint8Array => {
  let id: Uint8Array
  do id = self.entropy(idLength)
  while (self.pending.has(Bytes.toLatin1(id)))
  self.pending.set(Bytes.toLatin1(id), query)
  return id
}

/** Ends the wait for an answer that came from an address; `undefined`, and nothing changes, if none was asked for. */
export const end = <A>(self: Transactions<A>, id: Uint8Array, from: PeerAddress): Pending<A> | undefined => {
  const key = Bytes.toLatin1(id)
  const query = self.pending.get(key)
  if (query === undefined || !PeerAddresses.equals(query.address, from)) return undefined
  self.pending.delete(key)
  return query
}

/** Ends the waits that have lasted too long, oldest first. */
export const expire = <A>(self: Transactions<A>, now: number): ReadonlyArray<Pending<A>> => {
  const expired: Array<Pending<A>> = []
  for (const [key, query] of self.pending) {
    if (now - query.sentAt < timeoutMillis) break
    self.pending.delete(key)
    expired.push(query)
  }
  return expired
}

/** When the next wait ends; `Infinity` if there is none. */
export const nextAt = <A>(self: Transactions<A>): number => {
  for (const { sentAt } of self.pending.values()) return sentAt + timeoutMillis
  return Number.POSITIVE_INFINITY
}
