/**
 * Helpers to test programs that use the engine: an engine in a simulated world in place of the real one, peers whose
 * behaviour is a value, a network in memory under a test clock, storage that fails on demand, torrents with known
 * content, and suites that your own layers can be run through. `piecewise/testing/property` has what needs fast-check.
 */
export * as MemoryResumeStore from "../resume/provider/MemoryResumeStore.ts"
export * as MemoryStorage from "../storage/provider/memory/MemoryStorage.ts"
export * as CheckedStorage from "./CheckedStorage.ts"
export * as FaultyStorage from "./FaultyStorage.ts"
export * as KnownTorrent from "./KnownTorrent.ts"
export * as MemoryNetwork from "./MemoryNetwork.ts"
export * as MemoryUdpNetwork from "./MemoryUdpNetwork.ts"
export * as NoTracker from "./NoTracker.ts"
export * as PeerBehaviour from "./PeerBehaviour.ts"
export * as ScriptedPeer from "./ScriptedPeer.ts"
export * as Simulation from "./Simulation.ts"
export * as Swarms from "./Swarms.ts"
export * as MediumFiles from "./suite/MediumFiles.ts"
export * as PeerSourceSuite from "./suite/PeerSourceSuite.ts"
export * as PieceHasherSuite from "./suite/PieceHasherSuite.ts"
export * as ResumeStoreSuite from "./suite/ResumeStoreSuite.ts"
export * as SessionStoreSuite from "./suite/SessionStoreSuite.ts"
export * as StorageSuite from "./suite/StorageSuite.ts"
export * as Suite from "./suite/Suite.ts"
export * as TransportSuite from "./suite/TransportSuite.ts"
export * as UdpPortSuite from "./suite/UdpPortSuite.ts"
export * as TestEngine from "./TestEngine.ts"
