/**
 * Helpers to test programs that use the engine: peers whose behaviour is a value, a network in memory under a test
 * clock, storage that fails on demand, torrents with known content, whole swarms in simulated time, and arbitraries for
 * properties. Needs fast-check, which is loaded with this file.
 */
export * as MemoryResumeStore from "../resume/provider/MemoryResumeStore.ts"
export * as MemoryStorage from "../storage/provider/memory/MemoryStorage.ts"
export * as Arbitraries from "./Arbitraries.ts"
export * as CheckedStorage from "./CheckedStorage.ts"
export * as FaultyStorage from "./FaultyStorage.ts"
export * as KnownTorrent from "./KnownTorrent.ts"
export * as MemoryNetwork from "./MemoryNetwork.ts"
export * as MemoryUdpNetwork from "./MemoryUdpNetwork.ts"
export * as NoTracker from "./NoTracker.ts"
export * as PeerBehaviour from "./PeerBehaviour.ts"
export * as Property from "./Property.ts"
export * as ScriptedPeer from "./ScriptedPeer.ts"
export * as Simulation from "./Simulation.ts"
export * as Swarms from "./Swarms.ts"
