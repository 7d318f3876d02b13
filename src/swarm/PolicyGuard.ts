/**
 * Asks a policy, and bounds what it answers. A function of a policy that throws is reported as a defect, and then
 * nobody is admitted, preferred or unchoked, and bans are as in `PeerPolicy.standard`. So a policy cannot break a
 * session, a fiber or a law.
 */
import * as Duration from "effect/Duration"
import type { Ourselves } from "../connect/DialPriority.ts"
import type * as Bans from "./Bans.ts"
import type { Candidate } from "./Candidate.ts"
import { Contender } from "./Contender.ts"
import * as PeerPolicy from "./PeerPolicy.ts"

/** A policy, and what is done with its defects. */
export interface PolicyGuard {
  readonly policy: PeerPolicy.PeerPolicy
  /** Called with what a function of the policy has thrown, each time. Must not throw. */
  readonly onDefect: (defect: unknown) => void
}

/** The standard policy, which does not throw. */
export const standard: PolicyGuard = {
  policy: PeerPolicy.standard,
  onDefect: (defect) => {
    throw defect
  }
}

const attempt = <A>({ onDefect }: PolicyGuard, ask: () => A, otherwise: A): A => {
  try {
    return ask()
  } catch (defect) {
    onDefect(defect)
    return otherwise
  }
}

/** Whether a peer may be dialled, accepted and kept. */
export const admits = (self: PolicyGuard, candidate: Candidate): boolean =>
  attempt(self, () => self.policy.admits(candidate) === true, false)

/** How much a peer is preferred; 0 if the policy returns no finite number. */
export const rank = (self: PolicyGuard, candidate: Candidate): number => {
  const rank = attempt(self, () => self.policy.rank(candidate), 0)
  return Number.isFinite(rank) ? rank : 0
}

/** In which order addresses of one rank are dialled; `undefined` if the policy returns no finite number. */
export const priority = (self: PolicyGuard, candidate: Candidate, ourselves: Ourselves): number | undefined => {
  const priority = attempt(self, () => self.policy.priority(candidate, ourselves), undefined)
  return Number.isFinite(priority) ? priority : undefined
}

/** How the address of a peer is banned; `undefined` if it is not. */
export const sentence = (self: PolicyGuard, offence: PeerPolicy.Offence): Bans.Sentence | undefined => {
  const otherwise = PeerPolicy.standard.ban(offence)
  const asked = attempt(self, () => millisOf(self.policy.ban(offence)), millisOf(otherwise))
  const wanted = Number.isNaN(asked) ? millisOf(otherwise) : asked
  const millis = Math.min(PeerPolicy.longestBan, Math.max(wanted, offence.what === "lie" ? PeerPolicy.shortestBan : 0))
  return millis > 0 ? { millis, countsForHost: offence.what !== "useless" } : undefined
}

/** Milliseconds; 0 for no ban. */
const millisOf = (ban: Duration.Input | undefined): number => {
  if (ban === undefined) return 0
  return typeof ban === "number" ? ban : Duration.toMillis(ban)
}

/** Decides who is unchoked in one torrent. */
export interface Chooser {
  readonly guard: PolicyGuard
  /** `undefined` if it could not be made. */
  readonly choose: PeerPolicy.Choose | undefined
}

/** Makes the choker of a torrent. */
export const chooser = (self: PolicyGuard): Chooser => ({
  guard: self,
  choose: attempt(self, () => self.policy.choker(), undefined)
})

/** The peers that are unchoked: of those that the policy returns, the first ones, as many as there are slots. */
export const choose = (
  { choose, guard }: Chooser,
  peers: ReadonlyArray<Contender>,
  round: PeerPolicy.Round
): ReadonlySet<Contender> => {
  if (choose === undefined) return new Set()
  for (const peer of peers) peer.begin(round)
  // The policy has a list and a round of its own, which it may change.
  return attempt(guard, () => take(choose(peers.slice(), { ...round }), peers.length, round), new Set())
}

/** The peers of a round in `chosen`, which may be endless, and hold peers of other rounds or anything else. */
const take = (
  chosen: Iterable<PeerPolicy.Contender>,
  peers: number,
  round: PeerPolicy.Round
): ReadonlySet<Contender> => {
  const taken = new Set<Contender>()
  if (round.slots <= 0) return taken
  let looked = 0
  for (const peer of chosen) {
    if (peer instanceof Contender && peer.round === round) taken.add(peer)
    if (taken.size >= round.slots || ++looked >= peers) break
  }
  return taken
}
