/**
 * Whom to give to: which interested peers are unchoked, of a torrent that has only so many upload slots (BEP 3).
 *
 * While downloading, slots are earned: every 10 s they go to the peers that gave most in the last 20 s. A fifth of the
 * slots, at least one, and every slot that nobody has earned are optimistic: drawn by lot for 30 s, so that strangers can
 * show what they give. A peer that gave nothing for a minute although we wanted something is snubbing us and has earned
 * nothing. While seeding nobody can give, so the slots go round: who has waited longest is next, and a turn ends after a
 * fixed time, or sooner with a fixed number of bytes, so that neither slow nor greedy peers keep others waiting.
 *
 * A pure machine. The caller steps it about once a second and whenever a peer's interest changed or a peer left, and
 * sends the frames. Peers are told apart by identity: a new connection is a new peer. Times are milliseconds.
 */

/** How often earned slots are given anew; more often makes peers' pipelines stutter (BEP 3). */
export const roundMillis = 10_000

/** How long an optimistic slot lasts: long enough to be unchoked in return and to send a piece on (BEP 3). */
export const optimisticMillis = 30_000

/** A peer that gave nothing for this long although we wanted something is snubbing us (BEP 3). */
export const snubbedMillis = 60_000

/** How much likelier an optimistic slot goes to a peer that had no slot yet (BEP 3). */
export const newcomerWeight = 3

/** The longest turn of a peer while seeding, where others wait: the last waits as many turns as there are before it. */
export const maxTurnMillis = 60_000

/** The shortest: a connection needs some seconds to come to speed. */
export const minTurnMillis = 20_000

/** Bytes that end a turn once it was not the shortest: a fast peer has got what is worth a round by then. */
export const turnBytes = 16_777_216

/** Slots of a torrent whose uploading is not limited; libtorrent's number for a session by default as well. */
export const defaultSlots = 8

/** Fewer slots would leave none to be earned beside the optimistic one. */
const minSlots = 2

/** More slots than connections that a torrent has by default are of no use. */
const maxSlots = 50

/** What is known of a peer. Byte counts only ever grow. */
export interface Peer {
  /** It wants something from us. */
  readonly peerInterested: boolean
  /** We want something from it. */
  readonly amInterested: boolean
  /** It says that it will not download any more (BEP 21). */
  readonly isUploadOnly: boolean
  /** Payload bytes of use that it gave us. */
  readonly usefulBytes: number
  /** Payload bytes that we gave it. */
  readonly uploadedBytes: number
}

/** Why a peer is unchoked. */
export type Slot = "earned" | "optimistic" | "turn"

interface Standing<P> {
  readonly peer: P
  slot: Slot | undefined
  /** Since when it has its slot, or waits for one. */
  since: number
  /** What we had given it when its slot began. */
  uploadedBefore: number
  hadSlot: boolean
  /** What it had given at the last step, at the last round and at the one before. */
  useful: number
  usefulLast: number
  usefulBefore: number
  /** What it gave in the last two rounds. */
  given: number
  /** Since when it gives nothing although we want something. */
  quietSince: number
  /** Decides between equals. */
  salt: number
}

/** The state of one torrent's choking. Change it only through this module. */
export interface Choker<P extends Peer> {
  readonly standings: Map<P, Standing<P>>
  /** When the next round is due. */
  roundAt: number
  slots: number
  isSeeding: boolean
}

/** What a step needs besides the peers. */
export interface Options {
  /** How many peers may be unchoked; 0 or more. See `slotsFor`. */
  readonly slots: number
  /** We want nothing from anybody: complete, or complete as far as wanted. */
  readonly isSeeding: boolean
  readonly now: number
  readonly random: () => number
}

/** The peers to be told; no peer is in both. */
export interface Decisions<P> {
  readonly choke: ReadonlyArray<P>
  readonly unchoke: ReadonlyArray<P>
}

/** A choker of which everybody is choked. */
export const make = <P extends Peer>(): Choker<P> => ({
  standings: new Map(),
  roundAt: 0,
  slots: 0,
  isSeeding: false
})

/**
 * Slots that suit an upload limit, `undefined` for none. Number and share of a slot both grow with the root of the
 * limit: 2 slots at 8 KiB/s, 7 at 100 KiB/s, 22 at 1 MiB/s, and 50 from 5 MiB/s on.
 */
export const slotsFor = (bytesPerSecond: number | undefined): number =>
  bytesPerSecond === undefined
    ? defaultSlots
    : Math.min(maxSlots, Math.max(minSlots, Math.floor(Math.sqrt(bytesPerSecond / 2_048))))

/** How many of `slots` are optimistic even where all could be earned. A single slot is: it has to find givers first. */
export const optimisticSlots = (slots: number): number => Math.min(slots, Math.max(1, Math.floor(slots / 5)))

/** Why a peer is unchoked; `undefined` where it is choked. */
export const slotOf = <P extends Peer>(self: Choker<P>, peer: P): Slot | undefined => self.standings.get(peer)?.slot

/**
 * Decides at `now` for the peers that are connected. Afterwards no more peers are unchoked than there are slots, none of
 * them without interest, and no interested one is choked while a slot is free.
 */
export const step = <P extends Peer>(self: Choker<P>, peers: Iterable<P>, options: Options): Decisions<P> => {
  const { now } = options
  const candidates = follow(self, peers, options)
  const before = new Set(candidates.unchoked)
  self.roundAt = Math.min(self.roundAt, now + roundMillis)
  const isDue = now >= self.roundAt
  if (isDue) {
    self.roundAt = now + roundMillis
    for (const standing of self.standings.values()) measure(standing)
  }
  if (isDue || options.slots !== self.slots || options.isSeeding !== self.isSeeding) {
    for (const standing of self.standings.values()) standing.salt = options.random()
    if (options.isSeeding) passTurns(candidates.wanting, options)
    else reward(candidates.wanting, options)
  }
  self.slots = options.slots
  self.isSeeding = options.isSeeding
  fill(candidates.wanting, options)
  const choke: Array<P> = []
  const unchoke: Array<P> = []
  for (const standing of self.standings.values()) {
    const { peer, slot } = standing
    if (slot === undefined && before.has(standing)) choke.push(peer)
    else if (slot !== undefined && !before.has(standing)) unchoke.push(peer)
  }
  return { choke, unchoke }
}

/** Brings the standings up to date with the peers; gives those that were unchoked, and those that may be now. */
const follow = <P extends Peer>(self: Choker<P>, peers: Iterable<P>, options: Options) => {
  const { isSeeding, now } = options
  const unchoked: Array<Standing<P>> = []
  const wanting: Array<Standing<P>> = []
  const gone = new Set(self.standings.keys())
  for (const peer of peers) {
    gone.delete(peer)
    let standing = self.standings.get(peer)
    if (standing === undefined) {
      standing = join(peer, options)
      self.standings.set(peer, standing)
    }
    if (standing.slot !== undefined) unchoked.push(standing)
    // A clock that was put back must not make anything last for as long as it was put back.
    standing.since = Math.min(standing.since, now)
    if (peer.usefulBytes > standing.useful || !peer.amInterested || standing.quietSince > now) standing.quietSince = now
    standing.useful = peer.usefulBytes
    if (peer.peerInterested && !(isSeeding && peer.isUploadOnly)) wanting.push(standing)
    else yieldSlot(standing, now)
  }
  for (const peer of gone) self.standings.delete(peer)
  return { unchoked, wanting }
}

const join = <P extends Peer>(peer: P, { now, random }: Options): Standing<P> => ({
  peer,
  slot: undefined,
  since: now,
  uploadedBefore: 0,
  hadSlot: false,
  useful: peer.usefulBytes,
  usefulLast: peer.usefulBytes,
  usefulBefore: peer.usefulBytes,
  given: 0,
  quietSince: now,
  salt: random()
})

/** Two rounds are the 20 s that BEP 3 measures over. */
const measure = <P>(standing: Standing<P>): void => {
  standing.given = standing.useful - standing.usefulBefore
  standing.usefulBefore = standing.usefulLast
  standing.usefulLast = standing.useful
}

const isGiver = <P>(standing: Standing<P>, now: number): boolean =>
  standing.useful > 0 && now - standing.quietSince < snubbedMillis

/** Those who gave most first; among equals who has a slot keeps it. */
const byGiving = <P>(one: Standing<P>, other: Standing<P>): number =>
  other.given - one.given || Number(other.slot !== undefined) - Number(one.slot !== undefined) || one.salt - other.salt

/** The longest first. */
const bySince = <P>(one: Standing<P>, other: Standing<P>): number => one.since - other.since || one.salt - other.salt

const hold = <P extends Peer>(standing: Standing<P>, slot: Slot, now: number): void => {
  if (standing.slot === undefined) standing.uploadedBefore = standing.peer.uploadedBytes
  standing.slot = slot
  standing.since = now
  standing.hadSlot = true
}

const yieldSlot = <P>(standing: Standing<P>, now: number): void => {
  standing.slot = undefined
  standing.since = now
}

/** Gives the earned slots to the best, and ends the optimistic ones whose time is over or whose place is earned now. */
const reward = <P extends Peer>(wanting: ReadonlyArray<Standing<P>>, { now, random, slots }: Options): void => {
  const givers = wanting.filter((standing) => isGiver(standing, now)).sort(byGiving)
  const earned = new Set(givers.slice(0, slots - optimisticSlots(slots)))
  for (const standing of earned) if (standing.slot !== "earned") hold(standing, "earned", now)
  const others = wanting.filter((standing) => standing.slot !== undefined && !earned.has(standing))
  for (const standing of others) if (standing.slot === "earned") yieldSlot(standing, now)
  const optimistic = others.filter((standing) => standing.slot !== undefined).sort(bySince)
  const room = slots - earned.size
  const waiting = new Set(wanting.filter((standing) => standing.slot === undefined))
  let held = optimistic.length
  for (const standing of optimistic) {
    standing.slot = "optimistic"
    if (held > room) {
      yieldSlot(standing, now)
      held--
    } else if (now - standing.since >= optimisticMillis) {
      // Its time begins anew where nobody else waits.
      const next = draw(waiting, random)
      if (next === undefined) standing.since = now
      else {
        yieldSlot(standing, now)
        waiting.delete(next)
        hold(next, "optimistic", now)
      }
    }
  }
}

/** Ends the turns that are over, as far as others wait, and those for which there is no slot any more. */
const passTurns = <P extends Peer>(wanting: ReadonlyArray<Standing<P>>, { now, slots }: Options): void => {
  const holders = wanting.filter((standing) => standing.slot !== undefined).sort(bySince)
  const waiting = wanting.filter((standing) => standing.slot === undefined).sort(bySince)
  let surplus = holders.length - slots
  for (const standing of holders) {
    standing.slot = "turn"
    if (surplus > 0) {
      yieldSlot(standing, now)
      surplus--
    } else if (isTurnOver(standing, now)) {
      const next = waiting.shift()
      if (next === undefined) continue
      yieldSlot(standing, now)
      hold(next, "turn", now)
    }
  }
}

const isTurnOver = <P extends Peer>({ peer, since, uploadedBefore }: Standing<P>, now: number): boolean =>
  now - since >= maxTurnMillis || (now - since >= minTurnMillis && peer.uploadedBytes - uploadedBefore >= turnBytes)

/** Gives the free slots away. */
const fill = <P extends Peer>(wanting: ReadonlyArray<Standing<P>>, options: Options): void => {
  const { isSeeding, now, random, slots } = options
  const waiting = new Set(wanting.filter((standing) => standing.slot === undefined))
  let free = slots - (wanting.length - waiting.size)
  if (free <= 0 || waiting.size === 0) return
  if (isSeeding) {
    for (const standing of [...waiting].sort(bySince).slice(0, free)) hold(standing, "turn", now)
    return
  }
  let earnable = slots - optimisticSlots(slots) - wanting.filter((standing) => standing.slot === "earned").length
  for (const standing of [...waiting].filter((standing) => isGiver(standing, now)).sort(byGiving)) {
    if (free === 0 || earnable <= 0) break
    hold(standing, "earned", now)
    waiting.delete(standing)
    free--
    earnable--
  }
  for (; free > 0; free--) {
    const standing = draw(waiting, random)
    if (standing === undefined) return
    waiting.delete(standing)
    hold(standing, "optimistic", now)
  }
}

const weightOf = <P>(standing: Standing<P>): number => (standing.hadSlot ? 1 : newcomerWeight)

const draw = <P>(waiting: ReadonlySet<Standing<P>>, random: () => number): Standing<P> | undefined => {
  let total = 0
  for (const standing of waiting) total += weightOf(standing)
  let left = random() * total
  let drawn: Standing<P> | undefined
  for (const standing of waiting) {
    drawn = standing
    left -= weightOf(standing)
    if (left < 0) break
  }
  return drawn
}
