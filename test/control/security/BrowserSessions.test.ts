import { assert, describe, it } from "@effect/vitest"
import * as BrowserSessions from "../../../src/control/security/BrowserSessions.ts"

const day = 86_400_000

describe("BrowserSessions", () => {
  it("finds a session by its whole secret only", () => {
    const sessions = BrowserSessions.make()
    const { csrfToken, secret } = BrowserSessions.start(sessions, 1, 0)

    assert.equal(BrowserSessions.find(sessions, secret, 1, 0)?.csrfToken, csrfToken)
    assert.notEqual(csrfToken, secret)
    const last = secret.endsWith("A") ? "B" : "A"
    for (const guess of ["", secret.slice(0, 20), secret.slice(0, -1), secret.slice(0, -1) + last, `${secret}A`]) {
      assert.isUndefined(BrowserSessions.find(sessions, guess, 1, 0), guess)
    }
    // Wrong guesses do not end it.
    assert.isDefined(BrowserSessions.find(sessions, secret, 1, 0))
  })

  it("ends after 7 days without requests, and after 30 days with them", () => {
    const sessions = BrowserSessions.make()
    const idle = BrowserSessions.start(sessions, 1, 0)
    assert.isDefined(BrowserSessions.find(sessions, idle.secret, 1, 7 * day - 1))
    assert.isDefined(BrowserSessions.find(sessions, idle.secret, 1, 14 * day - 2))
    assert.isUndefined(BrowserSessions.find(sessions, idle.secret, 1, 21 * day - 2))

    const busy = BrowserSessions.start(sessions, 1, 0)
    for (let at = 0; at < 30 * day; at += 5 * day) assert.isDefined(BrowserSessions.find(sessions, busy.secret, 1, at))
    assert.isDefined(BrowserSessions.find(sessions, busy.secret, 1, 30 * day - 1))
    assert.isUndefined(BrowserSessions.find(sessions, busy.secret, 1, 30 * day))
  })

  it("ends with the password that started it", () => {
    const sessions = BrowserSessions.make()
    const { secret } = BrowserSessions.start(sessions, 1, 0)
    assert.isUndefined(BrowserSessions.find(sessions, secret, 2, 0))
    assert.isUndefined(BrowserSessions.find(sessions, secret, 1, 0))
  })

  it("has 1,000 at most: the one that was used the longest ago ends", () => {
    const sessions = BrowserSessions.make()
    const first = BrowserSessions.start(sessions, 1, 0)
    const second = BrowserSessions.start(sessions, 1, 0)
    for (let index = 2; index < BrowserSessions.maxSessions; index++) BrowserSessions.start(sessions, 1, 0)
    BrowserSessions.find(sessions, first.secret, 1, 1)

    BrowserSessions.start(sessions, 1, 2)

    assert.isDefined(BrowserSessions.find(sessions, first.secret, 1, 2))
    assert.isUndefined(BrowserSessions.find(sessions, second.secret, 1, 2))
    assert.equal(sessions.entries.size, BrowserSessions.maxSessions)
  })
})
