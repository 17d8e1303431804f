/* serve_connections.c - clients and their deadlines. libmicrohttpd counts seconds without any byte; a client that sends
 * one byte now and then would stay for ever. */
#include <stdlib.h>

#include "serve.h"

serve_connection *serve_connections_add(serve_connections *all, int fd, double deadline)
{
    serve_connection *connection = calloc(1, sizeof *connection);
    if (!connection) return NULL;
    connection->fd = fd;
    connection->deadline = deadline;
    pthread_mutex_lock(&all->lock);
    connection->next = all->first;
    if (all->first) all->first->before = connection;
    all->first = connection;
    all->count++;
    pthread_mutex_unlock(&all->lock);
    return connection;
}

void serve_connections_remove(serve_connections *all, serve_connection *connection)
{
    if (!connection) return;
    pthread_mutex_lock(&all->lock);
    if (connection->before) connection->before->next = connection->next;
    else all->first = connection->next;
    if (connection->next) connection->next->before = connection->before;
    all->count--;
    pthread_mutex_unlock(&all->lock);
    free(connection);
}

void serve_connections_until(serve_connections *all, serve_connection *connection, double deadline)
{
    if (!connection) return;
    pthread_mutex_lock(&all->lock);
    connection->deadline = deadline;
    pthread_mutex_unlock(&all->lock);
}

void serve_connections_check(serve_connections *all, double now)
{
    pthread_mutex_lock(&all->lock);
    for (serve_connection *at = all->first; at; at = at->next) {
        if (at->deadline > now) continue;
        shutdown(at->fd, SHUT_RDWR); /* libmicrohttpd, whose it is, finds it closed */
        at->deadline = now + 3600;
        all->cut++;
    }
    pthread_mutex_unlock(&all->lock);
}
