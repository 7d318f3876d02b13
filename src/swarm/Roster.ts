/**
 * The sessions of one swarm, by the keys of their peers. Plain data of the swarm, which its sessions and loops use
 * synchronously.
 */
import * as Bytes from "../base/Bytes.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import { PeerDropped } from "../peer/PeerPatience.ts"

/**
 * If two peers dial each other, they find out within this time that they have two connections (milliseconds). The
 * connection stays that the peer with the larger id opened: both sides must choose the same, or they would close both.
 */
export const crossingTime = 10_000

/** A session with a connected peer, whatever they exchange. */
export interface Member {
  /** The peer's id, 20 bytes. */
  readonly peerId: Uint8Array
  /** Whether the peer opened the connection. */
  readonly isIncoming: boolean
  /** Whether the peer prefers encrypted connections, as far as it is known. */
  readonly prefersEncryption: () => boolean
  /** When the session began (milliseconds). */
  readonly openedAt: number
  /** The name that the peer gives itself (BEP 10 `v`), if that is known when it joins. */
  readonly client?: () => string | undefined
  /** Ends the session. Nothing more is read from the peer. */
  readonly failUnsafe: (error: PeerDropped) => void
}

/** The sessions of one swarm. */
export interface Roster<M extends Member> {
  /** By the key of the peer in the swarm's book. */
  readonly members: Map<number, M>
  /** The address at which a member can be dialled, if it is known. */
  readonly dialAddress: (member: M) => PeerAddress.PeerAddress | undefined
}

/** Makes a roster without members. */
export const make = <M extends Member>(dialAddress: Roster<M>["dialAddress"]): Roster<M> => ({
  members: new Map(),
  dialAddress
})

/** The key of the connected peer that listens at `address`, among the members whose keys count. */
export const keyAt = <M extends Member>(
  self: Roster<M>,
  address: PeerAddress.PeerAddress,
  counts: (key: number) => boolean = () => true
): number | undefined => {
  for (const [key, member] of self.members) {
    const known = self.dialAddress(member)
    if (known !== undefined && PeerAddress.equals(known, address) && counts(key)) return key
  }
  return undefined
}

/**
 * Keeps one connection to each peer, by whatever address it was reached. Returns why the newcomer has to be closed, or
 * ends the session that it replaces. `ourId` is our peer id in this swarm.
 */
export const keepOne = <M extends Member>(self: Roster<M>, newcomer: M, ourId: Uint8Array): PeerDropped | undefined => {
  const connected = new PeerDropped({ why: "it is connected already" })
  for (const other of self.members.values()) {
    if (!Bytes.equals(other.peerId, newcomer.peerId)) continue
    const hasCrossed = other.isIncoming !== newcomer.isIncoming && newcomer.openedAt - other.openedAt < crossingTime
    if (!hasCrossed || !isOpenedByLarger(newcomer, ourId)) return connected
    other.failUnsafe(connected)
  }
  return undefined
}

const isOpenedByLarger = ({ isIncoming, peerId }: Member, ourId: Uint8Array): boolean =>
  Bytes.toHex(peerId) > Bytes.toHex(ourId) === isIncoming

/** Ends the sessions for which `isChosen` returns true. */
export const dismiss = <M extends Member>(self: Roster<M>, isChosen: (member: M) => boolean, why: string): void => {
  for (const member of [...self.members.values()]) if (isChosen(member)) member.failUnsafe(new PeerDropped({ why }))
}
