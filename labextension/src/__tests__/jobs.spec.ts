import * as http from 'http';

import { Api } from '../api';
import { JobsModel } from '../jobs';
import { TestServer, job, until } from './server';

describe('JobsModel', () => {
  let server: TestServer;
  let model: JobsModel;
  let streams: http.ServerResponse[];

  const tell = (...rows: unknown[]) =>
    streams[streams.length - 1].write(rows.map(row => `${JSON.stringify({ row })}\n`).join(''));
  const states = () => model.all.map(({ id, state }) => `${id} ${state}`);

  beforeEach(async () => {
    server = new TestServer();
    await server.start();
    streams = [];
    server.answers.set('GET jobs', response => {
      response.flushHeaders();
      streams.push(response);
    });
    model = new JobsModel(new Api(server.settings));
  });
  afterEach(async () => {
    model.dispose();
    await server.stop();
  });

  async function live(): Promise<void> {
    model.follow();
    await until(() => streams.length > 0);
  }

  it('shows changes from one stream, newest first', async () => {
    await live();
    model.follow();
    tell(job('a'), job('b', 'queued', { created: 1 }));
    await until(() => model.all.length === 2);
    streams[0].write('{"beat": true}\n');
    tell(job('a', 'done'), { id: 'b', state: 'forgotten' });
    await until(() => model.all.length === 1);
    expect([states(), model.active]).toEqual([['a done'], 0]);
    expect(server.asked.map(each => each.split('&')[0])).toEqual(['GET jobs?follow=1']);
  });

  it('reports a lost connection, reconnects, and drops removed jobs', async () => {
    await live();
    tell(job('a'), job('b'));
    await until(() => model.all.length === 2);
    streams[0].destroy();
    await until(() => model.lost !== null);
    expect(model.all).toHaveLength(2);
    await until(() => streams.length === 2);
    tell(job('a', 'done'));
    await until(() => model.lost === null);
    expect(states()).toEqual(['a done']);
  });

  it('waits longer after each attempt, and stops when nobody follows', async () => {
    server.answers.delete('GET jobs');
    model.follow();
    await until(() => server.asked.length === 2);
    const second = Date.now();
    await until(() => server.asked.length === 3);
    expect(Date.now() - second).toBeGreaterThan(1900);
    model.leave();
    await new Promise(resolve => setTimeout(resolve, 4500));
    expect(server.asked).toHaveLength(3);
  }, 15_000);

  it('closes the stream when nobody follows', async () => {
    await live();
    model.leave();
    await until(() => server.abandoned === 1);
    model.follow();
    await until(() => streams.length === 2);
  });

  it('starts one job for a double click', async () => {
    server.json('POST jobs', job('a', 'queued'));
    await Promise.all([model.start('lake', 'sc:x'), model.start('lake', 'sc:x')]);
    expect(states()).toEqual(['a queued']);
    expect(server.bodies).toEqual(['{"dids":["sc:x"]}']);
  });

  it('keeps the state from the stream when an older answer arrives', async () => {
    await live();
    server.answers.set('POST jobs', async response => {
      tell(job('a', 'done', { updated: 2 }));
      await until(() => model.all.length === 1);
      response.end(JSON.stringify(job('a', 'queued', { updated: 1 })));
    });
    await model.start('lake', 'sc:x');
    expect(states()).toEqual(['a done']);
  });

  it('cancels, retries and removes jobs', async () => {
    server.json('POST jobs', job('a'));
    await model.start('lake', 'sc:x');
    server.json('DELETE job', job('a', 'cancelled'));
    await model.end('a');
    expect(states()).toEqual(['a cancelled']);
    server.json('POST job', job('a', 'queued'));
    await model.retry('a');
    expect(states()).toEqual(['a queued']);
    server.json('DELETE job', { id: 'a', state: 'forgotten' });
    await model.end('a');
    expect(states()).toEqual([]);
    server.json('DELETE job', { error: 'conflict', message: 'Elsewhere.', remedy: '' }, 409);
    await model.end('a');
    expect([model.actor, model.acting.error?.message]).toEqual(['a', 'Elsewhere.']);
  });
});
