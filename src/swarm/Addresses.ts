/**
 * The addresses that are named to a swarm: which of them it takes, and which it gives up when a private torrent changes
 * its tracker.
 */
import * as Monotonic from "../base/Monotonic.ts"
import * as Naming from "../base/Naming.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import { PeerDropped } from "../peer/PeerPatience.ts"
import * as Admission from "./Admission.ts"
import type { Origin } from "./Candidate.ts"
import * as Candidate from "./Candidate.ts"
import * as Dialling from "./Dialling.ts"
import * as Encounters from "./Encounters.ts"
import * as Ourselves from "./Ourselves.ts"
import * as PeerBook from "./PeerBook.ts"
import * as Refusals from "./Refusals.ts"
import * as Roster from "./Roster.ts"
import type * as Swarm from "./Swarm.ts"

/** Why an address is refused that the policy does not admit. */
export const notAdmitted = "the policy about peers does not admit it"

/** Why our own address is refused. */
export const ownAddress = "it is an address of this client"

/**
 * Why an address is not taken from `origin`; `undefined` if it is. The end of a sentence. Nobody may name an address
 * that is less public than their own (`base/Naming.ts`).
 */
const whyNot = <M extends Roster.Member>(
  self: Swarm.Swarm<M>,
  address: PeerAddress.PeerAddress,
  origin: Origin
): string | undefined => {
  const why = Naming.whyNot(Candidate.reachOf(origin), address)
  if (why !== undefined) return why
  if (Ourselves.has(self, address)) return ownAddress
  return Admission.admits(self.admission, { address, origin }) ? undefined : notAdmitted
}

/** Adds addresses that may be dialled, reports how many were refused and why, and returns how many were new. */
export const add = <M extends Roster.Member>(
  self: Swarm.Swarm<M>,
  addresses: ReadonlyArray<PeerAddress.PeerAddress>,
  origin: Origin
): number => {
  const { book, clock, dialling, roster } = self
  const now = Monotonic.nowUnsafe(clock)
  const refused = new Map<string, number>()
  let added = 0
  for (const named of addresses) {
    // The form that is dialled counts: `127.0.0.1.` looks like a name, and is `127.0.0.1`.
    const canonical = PeerAddress.make(named.host, named.port)
    const address = canonical ?? named
    // A peer that connected to us is in the book under another address.
    const connected = Roster.keyAt(roster, address, (key) => book.peers.get(key)?.isFormer !== true)
    if (connected !== undefined) {
      PeerBook.trust(book, connected, origin)
      continue
    }
    const why = whyNot(self, address, origin) ?? (canonical === undefined ? Naming.noAddress : undefined)
    if (why !== undefined) refused.set(why, (refused.get(why) ?? 0) + 1)
    else if (PeerBook.add(book, address, now, origin) !== undefined) added++
  }
  for (const [why, count] of refused) refuse(self, origin, count, why)
  if (added > 0) Dialling.wake(dialling)
  return added
}

/** Reports addresses that `origin` named and that are not used, now and then. */
export const refuse = <M extends Roster.Member>(
  { refusals, report }: Swarm.Swarm<M>,
  origin: Origin,
  addresses: number,
  why: string
): void => {
  if (addresses === 0) return
  const source = Candidate.nameOf(origin)
  const total = Refusals.note(refusals, source, why, addresses)
  if (total !== undefined) report({ _tag: "AddressesRefused", source, addresses: total, why })
}

/**
 * Gives up the peers of which `isFormer` is true: forgets their addresses, and ends dials of them and sessions with
 * them. Bans stay. A peer of them that is named again afterwards is dialled again.
 */
export const dismiss = <M extends Roster.Member>(
  { book, encounters, roster }: Swarm.Swarm<M>,
  isFormer: (origin: Origin) => boolean,
  why: string
): void => {
  for (const peer of [...book.peers.values()]) {
    if (!isFormer(peer.origin) || !PeerBook.dismiss(book, peer)) continue
    const member = roster.members.get(peer.key)
    if (member === undefined) Encounters.interruptUnsafe(encounters, peer.key)
    else member.failUnsafe(new PeerDropped({ why }))
  }
}
