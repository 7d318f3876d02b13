import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import type { InfoHash } from "../../../src/base/InfoHash.ts"
import type { PeerId } from "../../../src/base/PeerId.ts"
import * as DiffieHellman from "../../../src/connect/mse/DiffieHellman.ts"
import * as MseHandshake from "../../../src/connect/mse/MseHandshake.ts"
import * as MseInitiator from "../../../src/connect/mse/MseInitiator.ts"
import * as MseKeys from "../../../src/connect/mse/MseKeys.ts"
import * as MseResponder from "../../../src/connect/mse/MseResponder.ts"
import { NotIntroduced } from "../../../src/connect/NotIntroduced.ts"
import * as Handshake from "../../../src/wire/Handshake.ts"
import { assertLinear } from "../../linear.ts"
import { cut, diffieHellman, infoHash, make, type Options, randomWith, run } from "./handshakes.ts"

const { anyMethod, method } = MseHandshake

const privateKey = new Uint8Array(DiffieHellman.privateKeyLength).fill(5)

const plainHandshake = Handshake.encode({
  features: Handshake.noFeatures,
  infoHash,
  peerId: new Uint8Array(20).fill(9) as PeerId
})

/** Why `attempt` fails. */
const whyOf = (attempt: () => unknown): string => {
  try {
    attempt()
  } catch (error) {
    if (error instanceof NotIntroduced) return error.reason
    throw error
  }
  return "nothing"
}

/** Encrypts or decrypts a copy. */
const apply = (cipher: Parameters<typeof MseHandshake.applyInPlace>[0], bytes: Uint8Array): Uint8Array => {
  const copy = bytes.slice()
  MseHandshake.applyInPlace(cipher, copy)
  return copy
}

/** Whether both directions carry `bytes` to the other side, and whether they are hidden on the way. */
const carries = ({ initiator, responder }: ReturnType<typeof run>, bytes: Uint8Array) =>
  (
    [
      [initiator.send, responder.receive],
      [responder.send, initiator.receive]
    ] as const
  ).map(([send, receive]) => {
    const onTheWay = send === undefined ? bytes : apply(send, bytes)
    const arrived = receive === undefined ? onTheWay : apply(receive, onTheWay)
    return { isRight: Bytes.equals(arrived, bytes), isHidden: !Bytes.equals(onTheWay, bytes) }
  })

const text = Bytes.fromText("what follows the handshake")

/** A responder that has received a key, and the secret that it shares with `privateKey`. */
const answered = (options: Options = {}) => {
  const { responder } = make(options)
  const sent: Array<Uint8Array> = []
  MseResponder.push(responder, diffieHellman.publicKey(privateKey), (bytes) => sent.push(bytes))
  const secret = diffieHellman.agree(privateKey, sent[0]!.subarray(0, DiffieHellman.keyLength))
  const ciphers = MseKeys.ciphers(secret, infoHash)
  return { responder, secret, ciphers, push: (bytes: Uint8Array) => MseResponder.push(responder, bytes, () => {}) }
}

/** An initiator that has received a key, and the ciphers that it shares with `privateKey`. */
const greeted = (options: Options = {}) => {
  const { initiator } = make(options)
  const secret = diffieHellman.agree(privateKey, initiator.first.subarray(0, DiffieHellman.keyLength))
  const sent: Array<Uint8Array> = []
  MseInitiator.push(initiator, diffieHellman.publicKey(privateKey), (bytes) => sent.push(bytes))
  const ciphers = MseKeys.ciphers(secret, infoHash)
  return { initiator, sent, ciphers, push: (bytes: Uint8Array) => MseInitiator.push(initiator, bytes, () => {}) }
}

const answer = (chosen: number, padding = 0) =>
  Bytes.concat([
    MseHandshake.verification,
    MseHandshake.number(4, chosen),
    MseHandshake.number(2, padding),
    new Uint8Array(Math.min(padding, 600))
  ])

const request = (fields: { zeros?: Uint8Array; offered?: number; padding?: number; payload?: Uint8Array } = {}) => {
  const { offered = anyMethod, padding = 0, payload = text, zeros = MseHandshake.verification } = fields
  return Bytes.concat([
    zeros,
    MseHandshake.number(4, offered),
    MseHandshake.number(2, padding),
    new Uint8Array(Math.min(padding, 600)),
    MseHandshake.number(2, payload.length),
    payload
  ])
}

const head = (secret: Uint8Array, asked = infoHash) =>
  Bytes.concat([MseKeys.mark(secret), MseKeys.masked(MseKeys.nameOf(asked), secret)])

describe("an encrypted handshake", () => {
  it("carries the first payload, and is plain afterwards if both sides allow that", () => {
    const ended = run()

    assert.deepStrictEqual(Bytes.toText(ended.responder.rest), "the handshake of BEP 3")
    assert.isTrue(ended.responder.isEncrypted)
    assert.deepStrictEqual(carries(ended, text), [
      { isRight: true, isHidden: false },
      { isRight: true, isHidden: false }
    ])
    const payload = Bytes.toLatin1(make().payload)
    for (const stream of ended.sent) assert.notInclude(Bytes.toLatin1(stream), payload)
  })

  it.each([
    ["the accepting side requires it", { isRequired: true }],
    ["the dialling side requires it", { methods: method.rc4 }],
    ["both sides require it", { methods: method.rc4, isRequired: true }]
  ] as const)("is encrypted afterwards if %s", (_, options) => {
    assert.deepStrictEqual(carries(run(options), text), [
      { isRight: true, isHidden: true },
      { isRight: true, isHidden: true }
    ])
  })

  it("is plain afterwards if the dialling side offers only that, unless encryption is required", () => {
    const ended = run({ methods: method.plain })

    assert.isUndefined(ended.responder.send)
    assert.strictEqual(
      whyOf(() => run({ methods: method.plain, isRequired: true })),
      "no method"
    )
  })

  it("has four paddings of 0 to 512 bytes each", () => {
    const lengths = [0, 1, 2, 255, 511, 512]
    for (const length of lengths) {
      for (const other of lengths) {
        const ended = run({
          paddings: [
            [length, other],
            [other, length]
          ],
          isRequired: true
        })
        const payload = make().payload.length
        assert.deepStrictEqual(
          ended.sent.map((stream) => stream.length),
          [96 + length + 20 + 20 + 14 + other + 2 + payload, 96 + other + 14 + length]
        )
        assert.isTrue(carries(ended, text).every(({ isRight }) => isRight))
      }
    }
  })

  it("comes to the same end wherever its bytes are split", () => {
    const padding = fc.tuple(fc.integer({ min: 0, max: 512 }), fc.integer({ min: 0, max: 512 }))
    fc.assert(
      fc.property(
        fc.integer(),
        fc.tuple(padding, padding),
        fc.array(fc.nat(), { maxLength: 12 }),
        fc.boolean(),
        (seed, paddings, places, isRequired) => {
          const ended = run({ seed, paddings, isRequired }, (stream) => cut(stream, places))

          assert.deepStrictEqual(ended.responder.rest, make().payload)
          assert.isTrue(carries(ended, text).every(({ isRight }) => isRight))
        }
      ),
      { numRuns: 200 }
    )
  })

  it("comes to the same end byte by byte, and split in two at every place", () => {
    const paddings = [
      [3, 5],
      [2, 4]
    ] as const
    const whole = run({ paddings, isRequired: true })
    const byByte = run({ paddings, isRequired: true }, (stream) => cut(stream, Array.from(stream.keys())))
    assert.deepStrictEqual(byByte.sent, whole.sent)

    for (let place = 0; place <= whole.sent[0].length; place++) {
      const split = run({ paddings, isRequired: true }, (stream) => cut(stream, [place]))
      assert.deepStrictEqual([split.sent, split.responder.rest], [whole.sent, whole.responder.rest])
    }
  })

  it("returns what the peer has sent behind it, decrypted", () => {
    for (const chosen of [method.plain, method.rc4]) {
      const { ciphers, push } = greeted()
      const all = Bytes.concat([answer(chosen, 7), text])
      const encrypted = apply(ciphers.fromAcceptor, all)
      if (chosen === method.plain) encrypted.set(text, encrypted.length - text.length)

      const end = push(encrypted)

      assert.deepStrictEqual(end?.rest, text)
      assert.strictEqual(end?.receive === undefined, chosen === method.plain)
    }
    for (const offered of [anyMethod, method.rc4]) {
      const { ciphers, push, secret } = answered()
      const asked = request({ offered, padding: 3 })
      const encrypted = apply(ciphers.fromDialler, Bytes.concat([asked, text]))
      if (offered === anyMethod) encrypted.set(text, encrypted.length - text.length)

      const end = push(Bytes.concat([head(secret), encrypted]))

      assert.deepStrictEqual(end?.rest, Bytes.concat([text, text]))
    }
  })

  it("answers before the first payload has arrived, as a peer may wait for that", () => {
    const { ciphers, responder, secret } = answered()
    const sent: Array<Uint8Array> = []
    const encrypted = apply(ciphers.fromDialler, request())

    const end = MseResponder.push(
      responder,
      Bytes.concat([head(secret), encrypted.subarray(0, encrypted.length - text.length)]),
      (bytes) => sent.push(bytes)
    )

    assert.isUndefined(end)
    assert.strictEqual(sent.length, 1)
  })
})

describe("the accepting side of an encrypted handshake", () => {
  it("finds a plain handshake at every split of its first bytes, and returns all of it", () => {
    const stream = Bytes.concat([plainHandshake, text])
    for (let place = 0; place <= stream.length; place++) {
      const { responder } = make()
      const sent: Array<Uint8Array> = []
      let end: MseResponder.Accepted | undefined
      let rest = new Uint8Array(0)
      for (const chunk of cut(stream, [place])) {
        if (end !== undefined) rest = Bytes.concat([rest, chunk])
        end ??= MseResponder.push(responder, chunk, (bytes) => sent.push(bytes))
      }

      assert.deepStrictEqual(Bytes.concat([end!.rest, rest]), stream)
      assert.deepStrictEqual([end!.isEncrypted, sent], [false, []])
    }
  })

  it("refuses a plain handshake if encryption is required, once it is sure of it", () => {
    const { responder } = make({ isRequired: true })
    for (let at = 0; at < 19; at++) {
      assert.isUndefined(MseResponder.push(responder, plainHandshake.subarray(at, at + 1), () => {}))
    }

    assert.strictEqual(
      whyOf(() => MseResponder.push(responder, plainHandshake.subarray(19, 20), () => {})),
      "not encrypted"
    )
  })

  it("takes a key for a key that begins as a plain handshake does", () => {
    const { responder } = make()
    const sent: Array<Uint8Array> = []
    const key = diffieHellman.publicKey(privateKey)
    key.set(plainHandshake.subarray(0, 19))

    for (const chunk of cut(key, [10, 19, 20])) {
      assert.isUndefined(MseResponder.push(responder, chunk, (bytes) => sent.push(bytes)))
    }

    assert.strictEqual(sent.length, 1)
  })

  it("fault 95: sends and computes nothing for a peer that has not sent its whole key", () => {
    let computed = 0
    const responder = MseResponder.make({
      diffieHellman: {
        publicKey: (key) => {
          computed++
          return diffieHellman.publicKey(key)
        },
        agree: (...keys) => {
          computed++
          return diffieHellman.agree(...keys)
        }
      },
      random: randomWith(1),
      find: () => undefined,
      isRequired: false
    })
    const sent: Array<Uint8Array> = []
    const send = (bytes: Uint8Array) => sent.push(bytes)

    MseResponder.push(responder, diffieHellman.publicKey(privateKey).subarray(0, 95), send)
    const before = [computed, sent.length]
    MseResponder.push(responder, diffieHellman.publicKey(privateKey).subarray(95), send)

    assert.deepStrictEqual([before, computed, sent.length], [[0, 0], 2, 1])
  })

  it("fault 96: looks for the mark within 512 bytes of padding, and not one byte farther", () => {
    for (const length of [0, 511, 512]) {
      const { push, secret } = answered()
      assert.isUndefined(push(new Uint8Array(length)))
      assert.isUndefined(push(MseKeys.mark(secret)))
      assert.strictEqual(
        whyOf(() => push(new Uint8Array(20))),
        "unknown torrent"
      )
    }
    const { push, responder, secret } = answered()
    assert.isUndefined(push(new Uint8Array(513)))
    assert.strictEqual(
      whyOf(() => push(MseKeys.mark(secret))),
      "no mark"
    )
    assert.isAtMost(MseHandshake.bytesOf(responder.arrived).length, 533)
  })

  it("fault 96: ends at the first byte that makes the mark impossible, however slowly padding comes", () => {
    const { push } = answered()
    let bytes = 0

    const why = whyOf(() => {
      while (bytes < 10_000) {
        push(new Uint8Array(1))
        bytes++
      }
    })

    assert.deepStrictEqual([why, bytes], ["no mark", 531])
  })

  it("fault 71: takes a long first payload byte by byte in time in proportion to its length", () => {
    const streamOf = (length: number) => {
      const { ciphers, secret } = answered()
      const encrypted = apply(ciphers.fromDialler, request({ payload: new Uint8Array(length) }))
      return Bytes.concat([head(secret), encrypted])
    }
    assertLinear(16_000, streamOf, (stream) => {
      const { push } = answered()
      let end: MseResponder.Accepted | undefined
      for (let at = 0; at < stream.length; at++) end = push(stream.subarray(at, at + 1))
      assert.isDefined(end)
    })
  })

  it("fault 96: refuses more padding than is allowed before it has arrived", () => {
    const whys = [512, 513, 65_535].map((padding) => {
      const { ciphers, push, secret } = answered()
      const encrypted = apply(ciphers.fromDialler, request({ padding }).subarray(0, 14))
      return whyOf(() => push(Bytes.concat([head(secret), encrypted])))
    })

    assert.deepStrictEqual(whys, ["nothing", "long padding", "long padding"])
  })

  it("fault 97: refuses a torrent that does not run, and one whose ciphers the peer does not have", () => {
    const other = new Uint8Array(20).fill(8) as InfoHash
    assert.strictEqual(
      whyOf(() => run({ asksFor: other })),
      "unknown torrent"
    )

    const { ciphers, push, secret } = answered()
    const encrypted = apply(ciphers.fromDialler, request())
    encrypted[7]! ^= 1
    assert.strictEqual(
      whyOf(() => push(Bytes.concat([head(secret), encrypted]))),
      "bad mark"
    )
  })

  it("fault 98: refuses methods that nobody knows", () => {
    const whys = [0, 4, 0x8000_0000, method.rc4 | 8].map((offered) => {
      const { ciphers, push, secret } = answered()
      return whyOf(() => push(Bytes.concat([head(secret), apply(ciphers.fromDialler, request({ offered }))])))
    })

    assert.deepStrictEqual(whys, ["no method", "no method", "no method", "nothing"])
  })
})

describe("the dialling side of an encrypted handshake", () => {
  it("notices that the peer answers in plain", () => {
    for (const place of [1, 10, 19, 20, 68]) {
      const { initiator } = make()
      const why = whyOf(() => {
        for (const chunk of cut(plainHandshake, [place])) MseInitiator.push(initiator, chunk, () => {})
      })

      assert.strictEqual(why, "answered in plain")
    }
  })

  it("fault 96: looks for the answer within 512 bytes of padding, and not one byte farther", () => {
    for (const length of [0, 511, 512]) {
      const { ciphers, push } = greeted()
      assert.isUndefined(push(new Uint8Array(length)))

      const end = push(apply(ciphers.fromAcceptor, answer(method.rc4)))

      assert.isDefined(end)
    }
    const { initiator, push } = greeted()
    assert.strictEqual(
      whyOf(() => push(new Uint8Array(521))),
      "no mark"
    )
    assert.isAtMost(MseHandshake.bytesOf(initiator.arrived).length, 521)
  })

  it("fault 96: refuses more padding than is allowed before it has arrived", () => {
    const { ciphers, push } = greeted()

    const encrypted = apply(ciphers.fromAcceptor, answer(method.rc4, 513).subarray(0, 14))

    assert.strictEqual(
      whyOf(() => push(encrypted)),
      "long padding"
    )
  })

  it("fault 98: refuses a method that it did not offer, both, and none", () => {
    const whys = [
      [method.rc4, method.plain],
      [method.plain, method.rc4],
      [anyMethod, anyMethod],
      [anyMethod, 0],
      [anyMethod, 4],
      [anyMethod, method.rc4]
    ].map(([methods, chosen]) => {
      const { ciphers, push } = greeted({ methods: methods! })
      return whyOf(() => push(apply(ciphers.fromAcceptor, answer(chosen!))))
    })

    assert.deepStrictEqual(whys, ["bad method", "bad method", "bad method", "bad method", "bad method", "nothing"])
  })
})

describe("both sides of an encrypted handshake", () => {
  const key = (last: number) => {
    const bytes = new Uint8Array(DiffieHellman.keyLength)
    bytes[DiffieHellman.keyLength - 1] = last
    return bytes
  }
  const prime = Bytes.fromHex(DiffieHellman.primeHex)!
  const primeLess1 = prime.slice()
  primeLess1[DiffieHellman.keyLength - 1]!--

  it.each([
    ["0", key(0)],
    ["1", key(1)],
    ["the prime less 1", primeLess1],
    ["the prime", prime],
    ["a number above the prime", new Uint8Array(DiffieHellman.keyLength).fill(0xff)]
  ])("fault 33: refuse the degenerate key %s, and send nothing more", (_, degenerate) => {
    const { initiator, responder } = make()
    const sent: Array<Uint8Array> = []

    const whys = [
      whyOf(() => MseInitiator.push(initiator, degenerate, (bytes) => sent.push(bytes))),
      whyOf(() => MseResponder.push(responder, degenerate, (bytes) => sent.push(bytes)))
    ]

    assert.deepStrictEqual([whys, sent], [["degenerate key", "degenerate key"], []])
  })

  it("fault 33: fail typed or wait, and hold a bounded number of bytes, whatever arrives", () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 12 }),
        fc.boolean(),
        (seed, chunks, keepsKey) => {
          const { initiator, responder } = make({ seed })
          const first = keepsKey ? [diffieHellman.publicKey(privateKey)] : []
          const held = [0, 0]
          const whys = [
            whyOf(() => {
              for (const chunk of [...first, ...chunks]) {
                MseInitiator.push(initiator, chunk, () => {})
                held[0] = Math.max(held[0]!, MseHandshake.bytesOf(initiator.arrived).length)
              }
            }),
            whyOf(() => {
              for (const chunk of [...first, ...chunks]) {
                MseResponder.push(responder, chunk, () => {})
                held[1] = Math.max(held[1]!, MseHandshake.bytesOf(responder.arrived).length)
              }
            })
          ]

          for (const why of whys) assert.include(["nothing", "no mark", "degenerate key"], why)
          assert.isBelow(Math.max(...held), 96 + 512 + 20)
        }
      ),
      { numRuns: 200 }
    )
  })
})
